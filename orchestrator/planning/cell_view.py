"""A cell as a model meets it: what it learns there, token by token, and what it is asked.

Nothing is made up for looking: rows are those that `trainers.data` makes, prompts those that the evaluator encodes.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from orchestrator.planning.survey import says_right
from study.cells import Cell, Source
from study.config import StudyConfig
from study.data.example import Example
from study.data.gold import right_answer
from study.data.group.document import asker
from study.data.harness import Instance
from study.data.tasks import TaskLibrary
from study.models.resolve import Model
from trainers.data import Row, tokenise, with_cuts

if TYPE_CHECKING:
    from evaluators.items.encoder import Encoder, Writing

WHOLE = 1 << 30  # tokens: more than any text has
CLASSES = 20  # answers of more kinds are no classes


@dataclass(frozen=True)
class Span:
    """Tokens that stand together, all learned or none."""

    text: str
    tokens: tuple[int, ...]
    learned: bool


@dataclass(frozen=True)
class LearnedRow:
    """One row of training. `whole` is how many tokens it has before it is cut, or the text that it is a chunk of.

    `cut` is the text that is cut away; of a chunk nothing is.
    """

    spans: tuple[Span, ...]
    n_tokens: int
    whole: int
    cut: str


@dataclass(frozen=True)
class Asked:
    """One item: its prompt, the options, the right answer where it is told, and its tokens, with the longest option.

    `task` is the one of a group that asks it; `cut` is what of the prompt the model does not read.
    """

    doc_id: int
    task: str
    prompt: str
    options: tuple[str, ...]
    answer: str
    n_tokens: int
    cut: str


@dataclass(frozen=True)
class Lengths:
    """Of texts in tokens, and how many are cut, as longer than `limit`; None where they are read in windows."""

    count: int
    shortest: int
    median: int
    longest: int
    limit: int | None
    cut: int


@dataclass(frozen=True)
class Learned:
    """What is learned in a cell. `kinds` of answers there are; `answers` counts them, where these are few."""

    rows: tuple[LearnedRow, ...]
    lengths: Lengths
    hidden: int
    nulls: int
    kinds: int
    answers: dict[str, int]


@dataclass(frozen=True)
class Scored:
    """What is asked in a cell, by which tasks of a group; how answers end that are written.

    `kinds` of right answers there are; `answers` counts them, where these are few.
    """

    items: tuple[Asked, ...]
    lengths: Lengths
    hidden: int
    nulls: int
    fewshot: int
    chat: bool
    metrics: tuple[str, ...]
    tasks: dict[str, int]
    writes: Writing | None
    kinds: int
    answers: dict[str, int]


def learned(config: StudyConfig, library: TaskLibrary, encoder: Encoder, source: Source, count: int) -> Learned:
    """The first rows that an adapter of a source learns from, and all of their lengths. Raises TaskError, BadData.

    Of a source of several cells those of each come in turn, as in its list.
    """
    each = library.each_of(source)
    examples = [one for examples in zip_longest(*each) for one in examples if one is not None]
    recipe = config.recipe_of(source)
    of_rows = [
        (example, row)
        for example in examples[:count]
        for row in tokenise(encoder.tokenizer, [example], recipe.max_length, recipe.loss_on)
    ]
    rows = with_cuts([row for _, row in of_rows], config.seeds[0])
    shown = [_row(encoder, example, row) for (example, _), row in zip(of_rows, rows, strict=True)]
    whole = [len(_whole(encoder, example)) for example in examples]
    most = [example.max_length or recipe.max_length for example in examples]
    cut = sum(n > m for n, m, one in zip(whole, most, examples, strict=True) if one.format != "text")
    lengths = _lengths(whole, max(most), cut)
    hidden = sum(library.hidden.get((cell, "train"), 0) for cell in source.cells)
    nulls = sum(library.nulls.get((cell, "train"), 0) for cell in source.cells)
    answers = [one.answer for one in examples if one.format in (None, "prompt_completion")]
    return Learned(tuple(shown[:count]), lengths, hidden, nulls, *_kinds(answers))


def scored(_: StudyConfig, library: TaskLibrary, encoder: Encoder, cell: Cell, count: int) -> Scored:
    """The first items that are asked in the cell, and all of their lengths. Raises TaskError."""
    chat = encoder.chat(library.scoring(cell))
    task = library.load(cell)
    instances = library.build_requests(cell, chat)
    documents: dict[int, list[Instance]] = {}
    for instance in instances:
        documents.setdefault(instance.doc_id, []).append(instance)
    first = instances[0]
    told = says_right(task) and first.request_type != "loglikelihood_rolling"
    golds = {number: right_answer(task, own[0].doc) if told else "" for number, own in documents.items()}
    lengths = {number: len(_longest(encoder, own)) for number, own in documents.items()}
    most = {number: encoder.most(own[0]) for number, own in documents.items()}
    cut = sum(n is not None and lengths[number] > n for number, n in most.items())
    asking = {number: asker(task, own[0].doc).task_name for number, own in documents.items()}
    tasks = Counter(asking.values())
    names = asking if len(tasks) > 1 else dict.fromkeys(asking, "")
    shown = [_item(encoder, names[n], documents[n], golds[n]) for n in _in_turn(asking)[:count]]
    limit = min((n for n in most.values() if n is not None), default=None)
    return Scored(
        tuple(shown),
        _lengths(list(lengths.values()), limit, cut),
        library.hidden.get((cell, "test"), 0),
        library.nulls.get((cell, "test"), 0),
        int(task.get_config("num_fewshot") or 0),
        chat is not None,
        library.metrics(cell) or tuple(task.aggregation()),
        dict(tasks) if len(tasks) > 1 else {},
        encoder.writing(first) if first.request_type == "generate_until" else None,
        *_kinds([gold for gold in golds.values() if told]),
    )


def model_named(models: Sequence[Model], name: str | None) -> Model | None:
    """The model of that name, the first where none is asked for; None where there is none."""
    return next((model for model in models if name in (None, model.name)), None)


def _row(encoder: Encoder, example: Example, row: Row) -> LearnedRow:
    learns, spans = set(row.places), list[Span]()
    start = 0
    for place in range(1, len(row.tokens) + 1):
        if place == len(row.tokens) or (place in learns) != (start in learns):
            tokens = row.tokens[start:place]
            spans.append(Span(encoder.tokenizer.decode(tokens), tokens, start in learns))
            start = place
    whole = _whole(encoder, example)
    lost = len(whole) - len(row.tokens) if row.truncated else 0
    cut = whole[len(row.tokens) :] if example.truncation == "right" else whole[:lost]
    return LearnedRow(tuple(spans), len(row.tokens), len(whole), encoder.tokenizer.decode(cut) if lost else "")


def _whole(encoder: Encoder, example: Example) -> tuple[int, ...]:
    """Tokens of an example that nothing is cut of; of a text those of all its chunks."""
    rows = tokenise(encoder.tokenizer, [replace(example, max_length=None)], WHOLE, "all")
    return tuple(chain.from_iterable(row.tokens for row in rows))


def _item(encoder: Encoder, task: str, own: Sequence[Instance], gold: str) -> Asked:
    """An item as its instances ask it."""
    first, tokens = own[0], _longest(encoder, own)
    most = encoder.most(first)
    cut = tokens[: max(0, len(tokens) - most)] if most is not None else []
    options, prompt = _options(own), str(first.args[0])
    return Asked(first.doc_id, task, prompt, options, gold, len(tokens), encoder.tokenizer.decode(cut))


def _longest(encoder: Encoder, own: Sequence[Instance]) -> list[int]:
    """Tokens of a prompt, with the option that makes them most."""
    texts = ("".join(part for part in one.args if isinstance(part, str)) for one in own)
    return max(map(encoder.tok_encode, texts), key=len)


def _options(instances: Sequence[Instance]) -> tuple[str, ...]:
    return tuple(str(one.args[1]) for one in instances if one.request_type == "loglikelihood")


def _in_turn(asking: Mapping[int, str]) -> list[int]:
    """Numbers of documents, one of each task and then the next of each."""
    of_task: dict[str, list[int]] = {}
    for number, name in asking.items():
        of_task.setdefault(name, []).append(number)
    return [number for some in zip_longest(*of_task.values()) for number in some if number is not None]


def _kinds(answers: Sequence[str]) -> tuple[int, dict[str, int]]:
    """How many different answers there are, and how often each where these are classes."""
    counted = Counter(answers)
    are_classes = len(counted) <= CLASSES and len(counted) < max(2, len(answers))
    return len(counted), dict(counted.most_common()) if are_classes else {}


def _lengths(found: Sequence[int], limit: int | None, cut: int) -> Lengths:
    return Lengths(len(found), min(found), round(statistics.median(found)), max(found), limit, cut)
