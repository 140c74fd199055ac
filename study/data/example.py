"""Training examples: documents of a task under the task's own templates or those that override them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from study.config import LossOn, TrainOverride
from study.data.harness import Document, Task


@dataclass(frozen=True)
class Example:
    """One training example: the model reads `prompt` and learns to go on with `answer`.

    `loss_on` is None where its task does not say: then the recipe's holds. `doc_hash` is that of the document it was
    made from, to tell whether it is scored too.
    """

    prompt: str
    answer: str
    doc_hash: str = field(default="", compare=False)
    loss_on: LossOn | None = None


def example_of(task: Task, doc: Document, train: TrainOverride) -> Example:
    """Make the example of a document. Raises ValueError where it has no answer."""
    prompt, answer = task.doc_to_text(doc, train.doc_to_text), task.doc_to_target(doc, train.doc_to_target)
    choices = task.doc_to_choice(doc) if task.config.doc_to_choice is not None else None
    if isinstance(prompt, int) and choices is not None:  # several inputs, one continuation (winogrande)
        prompt = choices[prompt]
    if isinstance(answer, list):
        answer = answer[0]
    if isinstance(answer, int) and choices is not None:
        if not 0 <= answer < len(choices):  # -1 marks a hidden label
            raise ValueError(f"right option {answer} of {len(choices)}")
        answer = choices[answer]
    return Example(str(prompt), f"{task.config.target_delimiter}{answer}", doc_hash(doc), train.loss_on)


def told(example: Example) -> list[str]:
    """List what decides what is learned from an example. The recipe's own `loss_on` is in the recipe."""
    return [example.prompt, example.answer, *([example.loss_on] if example.loss_on else [])]


def doc_hash(doc: object) -> str:
    """Hash an item's content as the `doc_hash` of lm-eval's sample logs does."""
    from lm_eval.utils import handle_non_serializable, hash_string  # slow to import, and few need it

    return str(hash_string(json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)))
