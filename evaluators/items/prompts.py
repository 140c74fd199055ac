"""What an item asks, as a person reads it: the text before the options, and the options.

Of the requests of an item the texts are kept that the model is given, before they are tokens or cut to its length.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.items.item import Item
from study.data.gold import BadGold, answer, right_text
from study.data.harness import Document, Task
from study.store import schema

COLUMNS = {name: schema.PROMPTS.field(name).type for name in ("prompt", "options", "reference")}


def asked(task: Task, item: Item) -> dict[str, object]:
    """What an item asks, by the columns of `study.store.schema.PROMPTS` that are not its number and hash."""
    if task.OUTPUT_TYPE == "generate_until":
        prompt, options = str(item.instances[0].args[0]), []
    elif task.OUTPUT_TYPE == "loglikelihood_rolling":
        prompt, options = "", [str(item.instances[0].args[0])]
    else:  # a task may rate its options once more without their prompt: that is nothing to read
        pairs = [instance.args for instance in item.instances[: len(item.option_chars)]]
        prompt = _common([str(before) for before, _ in pairs])
        options = [str(before)[len(prompt) :] + str(option) for before, option in pairs]
    reference = _reference(task, item.doc) if task.OUTPUT_TYPE == "generate_until" else None
    texts = [_whole(option) for option in options]
    return {"prompt": _whole(prompt), "options": texts, "reference": None if reference is None else _whole(reference)}


def _common(prompts: Sequence[str]) -> str:
    """What prompts begin with, up to the end of a word where they differ."""
    first, last = min(prompts), max(prompts)  # what these begin with, all between them do
    if first == last:
        return first
    pairs = enumerate(zip(first, last, strict=False))
    length = next((place for place, (one, other) in pairs if one != other), len(first))
    return first[: max(first.rfind(" ", 0, length), first.rfind("\n", 0, length)) + 1]


def _reference(task: Task, doc: Document) -> str | None:
    """What is right of a document that is answered in words; None where that is hidden."""
    try:
        return right_text(task, doc, None)
    except BadGold:
        return answer(task, doc) or None
    except Exception:  # noqa: BLE001 - a template meets the data here, and its score needs no such text
        return None


def _whole(text: str) -> str:
    """A text that is one in UTF-8: halves of surrogate pairs, which JSON may bring, are none."""
    return text.encode("utf-8", "replace").decode()
