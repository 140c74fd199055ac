"""What is learned from a row in a standard format: a text, a prompt with its completion, or a conversation.

Rows are those that TRL's trainer takes, and become its tokens (`trainers.chat`, `trainers.texts`): columns `text`,
`prompt` and `completion`, `messages`. Everything here is a function of one row and knows no tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from lm_eval.utils import apply_template

from study.cells import Cell
from study.config import TrainOverride
from study.data.example import Example, example_of
from study.data.gold import BadGold, check_names
from study.data.harness import Document, Documents, Task
from study.data.prints import doc_hash
from study.errors import TaskError

ROLES = ("system", "user", "assistant", "tool", "developer")
PAIR = ("prompt", "completion")


def learned(task: Task | None, doc: Document, train: TrainOverride[str]) -> Example | None:
    """Make the example of a row: as its task says, or as its format does. None for one with nothing to learn."""
    return example_of(task, doc, train) if task is not None and train.format is None else formatted(doc, train)


def formatted(doc: Document, train: TrainOverride[str]) -> Example | None:
    """Make the example of a row; None for one that has nothing to learn (an empty text). Raises BadGold."""
    how = (train.loss_on, train.bos, train.max_length, train.truncation)
    if train.format == "text":
        text = _as_text(_value(doc, train.field or "text"), train.field or "text")
        ends = train.append_eos is not False
        made = Example("", text, doc_hash(doc), *how, format="text", append_eos=ends, objective=train.objective)
        return made if text else None
    if train.format == "messages":
        said = _conversation(_value(doc, train.field or "messages"), train.field or "messages")
        if not any(one["role"] == "assistant" for one in said):
            raise BadGold("its conversation has no assistant's turn, so there is nothing to learn from it")
        return _chat(doc, said, None, train)
    if train.format == "prompt_completion" and isinstance(doc.get("prompt"), list) and train.doc_to_text is None:
        if train.append_eos is not None:
            raise BadGold("train.append_eos is for texts: a conversation ends as the chat template says; leave it out")
        before, after = (_conversation(_value(doc, name), name) for name in PAIR)
        return _chat(doc, [*before, *after], len(before), train)
    prompt, answer = _pair(doc, train)
    if not answer:
        return None
    ends = train.append_eos if train.append_eos is not None else train.format == "prompt_completion"
    return Example(prompt, answer, doc_hash(doc), *how, format=train.format, append_eos=ends)


def rendered(doc: Document, template: str) -> object:
    """A column, where the template is the name of one; else the text that it comes to. Raises what Jinja raises."""
    return doc[template] if template in doc else apply_template(template, doc)


def check_columns(cell: Cell, task: Task | None, train: TrainOverride[str], documents: Documents) -> None:
    """Raise TaskError for a column that the data have not: one that a format needs, or a template names."""
    own = train.model_dump(include={"doc_to_text", "doc_to_target", "where"})
    there = list(documents[0]) if documents else []
    features = task.features if task is not None and not train.names_data else there
    check_names(features, **{f"{cell}: tasks[{cell.task}].train.{key}": name for key, name in own.items()})
    for column in _needed(train):
        if there and column not in there:
            key = f"{cell}: tasks[{cell.task}].train"
            fix = f"{key}.field" if train.format in ("text", "messages") else f"{key}.doc_to_text and doc_to_target"
            raise TaskError(f"{key}.format: {train.format} needs a column {column!r}; columns are {', '.join(there)}: "
                            f"rename it, or set {fix.partition(': ')[2]}")  # fmt: skip


def _needed(train: TrainOverride[str]) -> tuple[str, ...]:
    """The columns that a format needs, where no template says otherwise."""
    if train.format in ("text", "messages"):
        return (train.field or train.format,)
    if train.format == "prompt_completion":
        templates = (train.doc_to_text, train.doc_to_target)
        return tuple(name for name, template in zip(PAIR, templates, strict=True) if template is None)
    return ()


def _pair(doc: Document, train: TrainOverride[str]) -> tuple[str, str]:
    stated = (train.doc_to_text, train.doc_to_target)
    templates = [column if template is None else template for column, template in zip(PAIR, stated, strict=True)]
    prompt, answer = (_as_text(rendered(doc, template), template) for template in templates)
    return prompt, answer


def _chat(doc: Document, said: Sequence[Mapping[str, object]], after: int | None, train: TrainOverride[str]) -> Example:
    """The example of a conversation: what of it is learned is all after so many turns, or the assistant's."""
    messages, first = list(said), after
    if train.system_prompt is not None and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": train.system_prompt})
        first = None if after is None else after + 1
    told = json.dumps({"messages": messages, "after": first}, ensure_ascii=False, sort_keys=True)
    how = (train.loss_on, train.bos, train.max_length, train.truncation)
    return Example("", told, doc_hash(doc), *how, format="messages")


def _conversation(value: object, column: str) -> list[dict[str, object]]:
    """A row's turns without what is null in them: tables give every turn the keys of all."""
    if not isinstance(value, list) or not value:
        raise BadGold(
            f"column {column!r} is {_called(value)}, not a list of turns: write [{{role: user, content: …}}, …]"
        )
    turns = []
    for number, turn in enumerate(value):
        if not isinstance(turn, Mapping):
            raise BadGold(f"turn {number} of column {column!r} is {_called(turn)}: write {{role: user, content: …}}")
        own = {str(key): inner for key, inner in turn.items() if inner is not None}
        if own.get("role") not in ROLES:
            raise BadGold(
                f"turn {number} of column {column!r} has the role {own.get('role')!r}: use {', '.join(ROLES)}"
            )
        if not isinstance(own.get("content"), str) and "tool_calls" not in own:
            raise BadGold(
                f"turn {number} of column {column!r} has the content {_called(own.get('content'))}: write a text"
            )
        turns.append(own)
    return turns


def _value(doc: Document, column: str) -> object:
    if column not in doc:
        raise BadGold(f"it has no column {column!r}; columns are {', '.join(doc)}")
    return doc[column]


def _as_text(value: object, column: str) -> str:
    if not isinstance(value, str):
        fix = "write a template" if column.isidentifier() else "rename the column, so that a template can name it"
        raise BadGold(f"{column!r:.60} is {_called(value)}, not a text: mend the row, or {fix}")
    return value


def _called(value: object) -> str:
    return "null" if value is None else f"{value!r:.60}"
