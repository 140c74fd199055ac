"""Training examples: documents of a task under the task's own templates or those that override them.

What a task itself says is learned as it is scored: the prompt is its zero-shot prompt with description and
`gen_prefix`, the answer begins with its delimiter. Few-shot examples and chat templates belong to scoring. An answer
that is to be written ends with EOS, or nobody would learn to stop.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from study.config import LossOn, TrainOverride, Truncation
from study.config.train import Format, Objective
from study.data.gold import BadGold, number_of, options_of, right_options, right_text
from study.data.group.document import asker
from study.data.harness import Document, Task
from study.data.prints import doc_hash
from study.identity import deciding

_AS_SCORED = "border as scored"
_TO_WHERE_THEY_PART = "border where they part"


@dataclass(frozen=True)
class Example:
    """One training example: the model reads `prompt` and learns to go on with `answer`.

    `loss_on` is None where its task does not say: then the recipe's holds. `doc_hash` is that of the document it was
    made from, to tell whether it is scored too. Without `bos` no special token is put first; a text of more than
    `max_length` tokens (else the recipe's) is cut on the side of `truncation`. In a `format` the answer is the row's:
    a text, a completion, or the turns of a conversation as JSON (`study.data.formats`). With `append_eos` it ends so.
    Of a text with the `objective` prefix what is learned begins at a cut in each chunk (`trainers.texts`).
    """

    prompt: str
    answer: str
    doc_hash: str = field(default="", compare=False)
    loss_on: LossOn | None = None
    bos: bool = True
    max_length: int | None = None
    truncation: Truncation = "left"
    format: Format | None = None
    append_eos: bool = False
    objective: Objective = "causal"


def example_of(task: Task, doc: Document, train: TrainOverride[str]) -> Example | None:
    """Make the example of a document; None where its label is hidden. Raises BadGold."""
    task = asker(task, doc)
    right = right_text(task, doc, train.doc_to_target)
    if right is None:
        return None
    prompt = _zero_shot(task, doc) if train.doc_to_text is None else _overridden(task, doc, train.doc_to_text)
    as_scored = train.doc_to_target is None and task.OUTPUT_TYPE.startswith("loglikelihood")
    delimiter = "" if as_scored else task.config.target_delimiter  # these texts are scored as they stand
    how = (train.loss_on, train.bos, train.max_length, train.truncation)
    ends = train.append_eos if train.append_eos is not None else task.OUTPUT_TYPE == "generate_until"
    return Example(prompt, f"{delimiter}{right}", doc_hash(doc), *how, append_eos=ends)


def _zero_shot(task: Task, doc: Document) -> str:
    """What is before the right answer where a document is scored without examples."""
    if task.OUTPUT_TYPE == "loglikelihood_rolling":  # the text is all that is scored
        return ""
    context = task.fewshot_context(doc, num_fewshot=0, gen_prefix=task.doc_to_prefix(doc))
    return context if isinstance(context, str) else context[right_options(task, doc)[0]]  # one for each input


def _overridden(task: Task, doc: Document, template: str) -> str:
    prompt = doc[template] if template in doc else task.doc_to_text(doc, template)  # as in `right_text`
    if isinstance(prompt, int) and task.config.doc_to_choice is not None:  # several inputs, one continuation
        options = options_of(task, doc)
        return options[number_of(prompt, options)]
    if prompt is None:
        raise BadGold("train.doc_to_text is null: mend the row, or the template")
    return str(prompt)


def some_of(examples: Sequence[Example], count: int) -> tuple[Example, ...]:
    """Draw so many, in their order: the same places in every language. Weights are searched on them."""
    numbers = random.Random(f"search:{count}").sample(range(len(examples)), min(count, len(examples)))
    return tuple(examples[number] for number in sorted(numbers))


def told(example: Example) -> list[object]:
    """List what decides what is learned from an example. The recipe's own `loss_on` is in the recipe.

    Where nothing parts prompt and answer, tokens may join across that border. An older release read them so; now they
    are as they are scored, which makes another example of it. So it is with a completion that alone is learned: of its
    first token more is, unless a space begins it behind something else, where tokens part.
    """
    before, after = example.prompt[-1:].isspace(), example.answer[:1]
    mark = [_AS_SCORED] if example.prompt and not (before or after.isspace()) else []
    alone = example.format == "prompt_completion" and example.loss_on != "all"
    if alone and example.prompt and (before or after != " "):
        mark.append(_TO_WHERE_THEY_PART)
    own = ("bos", "max_length", "truncation", "format", "append_eos", "objective")
    later = deciding("example", {name: getattr(example, name) for name in own})
    return [
        example.prompt,
        example.answer,
        *([example.loss_on] if example.loss_on else []),
        *mark,
        *([later] if later else []),
    ]
