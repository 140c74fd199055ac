"""What a report needs to know of a study's data: how languages are written, and what a first sentence is worth.

Languages are told by texts of the study's own, which are known to be in them: prompts, options and answers to learn,
raw text. What all prompts of a cell begin and end with, its template's words, is left out. Right answers of targets are
not learned from, so that they tell how often the guess is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from evaluators.items.rouge import rouge
from orchestrator.planning.overlaps import texts_among_items
from orchestrator.planning.survey import Survey, says_right
from study.cells import Cell
from study.data.gold import right_answer, row
from study.data.harness import Document, Task
from study.data.turns import said
from study.errors import TaskError
from study.languages import Languages
from study.store.seen import Seen, SeenTarget

WRITES = "generate_until"
# a full stop, or its like in other scripts, with what closes a quotation; behind it a gap where the script has gaps
_SENTENCE = re.compile(r"\s*(.+?(?:[.!?؟۔।…]+[\"'”»’)\]]*(?=\s|$)|[。！？]+[」』”）]*|\n|$))", re.DOTALL)
LEAST = 20  # characters of what may be a document


def seen(found: Survey, cut: Mapping[str, Mapping[str, int]], warn: Callable[[str], None], before: Seen) -> Seen:
    """All of it, with the prompts that are `cut`; of targets with the same data as `before` what was seen then."""
    known = languages(found)
    return Seen(known.counts, targets(found, known, warn, before.targets), cut, tuple(texts_among_items(found)))


def written(found: Survey) -> list[Cell]:
    """Targets that are answered in words of the model's own."""
    return [cell for cell in found.targets if not cell.held_out and found.library.load(cell).OUTPUT_TYPE == WRITES]


def languages(found: Survey) -> Languages:
    """How the languages of a study are written; nothing where no target is answered in words."""
    return Languages.of(of_languages(found) if written(found) else {})


def of_languages(found: Survey) -> dict[str, list[str]]:
    """Texts of the study's own that are known to be in a language: of sources and targets."""
    texts: dict[str, list[str]] = {}
    for source, examples in found.examples.items():
        spoken = {cell.language for cell in source.cells}
        if len(spoken) == 1 and source.size is None and source.name is None:
            own = texts.setdefault(spoken.pop(), [])
            own.extend(bare([one.prompt for one in examples]))
            own.extend(said(replace(one, prompt="")) for one in examples)
    for cell, asked in found.target_texts.items():
        own = texts.setdefault(cell.language, [])
        own.extend(bare([one.prompt for one in asked]))
        own.extend(option for one in asked for option in one.options)
    return {name: some for name, some in texts.items() if any(text.strip() for text in some)}


def bare(texts: Sequence[str]) -> list[str]:
    """The texts without what all of them begin with, and end with; as they are where they are all the same."""
    # the first and the last in order have no more in common at their beginning than any others
    front = _alike(min(texts, default=""), max(texts, default=""))
    end = min(texts, key=len, default="")[front:]
    for text in texts:
        if not text.endswith(end):
            end = end[len(end) - _alike(reversed(end), reversed(text)) :]
    found = [text[front : len(text) - len(end)] for text in texts]
    return found if any(found) else list(texts)


def _alike(one: Iterable[str], other: Iterable[str]) -> int:
    """How many characters two texts have in common before the first that differs."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def targets(
    found: Survey, known: Languages, warn: Callable[[str], None], before: Mapping[str, SeenTarget]
) -> dict[str, SeenTarget]:
    """What is seen of each target that is answered in words; of one with the same data what was seen `before`.

    `warn` is told of a target whose task fails at that: it is done without.
    """
    told = {}
    for cell in written(found):
        data, old = f"{found.targets[cell]} {known.identity}", before.get(str(cell))
        try:
            told[str(cell)] = old if old is not None and old.data == data else _target(found, cell, known, data)
        except TaskError as error:
            warn(f"what first sentences are worth as answers is not known: {error}")
    return told


def _target(found: Survey, cell: Cell, known: Languages, data: str) -> SeenTarget:
    task = found.library.load(cell)
    documents = {one.doc_id: one.doc for one in task.instances}
    prompts = {one.doc_id: str(one.args[0]) for one in task.instances}
    right = {number: right_answer(task, one) for number, one in documents.items()} if says_right(task) else {}
    recognised = known.share(list(right.values()), cell.language)
    field = _document(documents, prompts) if right and _is_summed_up(found, cell) else None
    if field is None:
        return SeenTarget(data, recognised)
    leads = {number: first_sentence(str(one[field])) for number, one in documents.items()}
    values = []
    for number, one in documents.items():
        with row(cell, "test", number, one):
            values.append(rouge(leads[number], _references(task, one)))
    lead = {name: sum(one[name] for one in values) / len(values) for name in values[0]}
    length = sum(map(len, leads.values())) / len(leads)
    return SeenTarget(data, recognised, lead, known.share(list(leads.values()), cell.language), length)


def _is_summed_up(found: Survey, cell: Cell) -> bool:
    """Whether a target's answers are rated by the words that they share with right ones."""
    return any(name.startswith("rouge") for name in found.library.metrics(cell))


def _references(task: Task, document: Document) -> list[str]:
    given = task.doc_to_target(document)
    return [str(one) for one in given] if isinstance(given, list | tuple) else [right_answer(task, document)]


def _document(documents: Mapping[int, Document], prompts: Mapping[int, str]) -> str | None:
    """The column of the text that a prompt asks about: of those that stand in the prompts the longest; None of none."""
    longest: dict[str, int] = {}
    for number, one in documents.items():
        for name, text in one.items():
            if isinstance(text, str) and len(text) >= LEAST and text.strip() in prompts[number]:
                longest[name] = longest.get(name, 0) + len(text)
    whole = [name for name in longest if all(isinstance(one.get(name), str) for one in documents.values())]
    return max(whole, key=lambda name: longest[name], default=None)


def first_sentence(text: str) -> str:
    """The first sentence of a text, or its first line where that ends before."""
    found = _SENTENCE.match(text)
    return found[1].strip() if found else ""
