"""What of a study's data makes its results mean little, seen before anything is trained. Each doubt is one line.

A doubt that many cells share is told once, with how many they are and the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.planning.overlaps import rows_among_items, texts_among_items
from orchestrator.planning.survey import Survey
from study.cells import Cell, Source
from study.config import Recipe
from study.data.metrics import of_all_items
from study.data.rows import Split

LEAST_ITEMS = 30


def doubts(
    found: Survey,
    cut: Mapping[str, int],
    to_learn: Mapping[str, tuple[Source, Recipe]],
    prompts: Mapping[str, Mapping[str, int]],
) -> Iterator[str]:
    """Give a line for each. `cut` counts the rows of `to_learn` that are longer than what is learned of them.

    `prompts` counts by model and target those that are longer than what the model reads.
    """
    fix = "take them out of one, or name another split"
    yield from _told(list(rows_among_items(found)), "rows to learn are among the items that are scored:", fix)
    yield from texts_among_items(found)
    measured = {cell: count for cell, count in found.target_items.items() if not cell.held_out}
    few = [f"{cell} ({count:,})" for cell, count in measured.items() if count < LEAST_ITEMS]
    yield from _told(few, f"fewer than {LEAST_ITEMS} items are scored of", "what is said of so few is mostly luck")
    alike = [str(cell) for cell, kinds in found.answers.items() if kinds == 1 and found.target_items[cell] > 1]
    fix = "who always says that is right: look at the split, or at the limit"
    yield from _told(alike, "all items have one right answer in", fix)
    same = [
        str(source)
        for source, examples in found.examples.items()
        if len(examples) > 1 and len({example.answer for example in examples}) == 1
    ]
    yield from _told(same, "all rows to learn have one answer in", "an adapter learns to say that, and nothing else")
    yield from _drawn(found)
    yield from _of_all_items(found)
    rows = {work: len(found.examples[source]) for work, (source, _) in to_learn.items()}
    longer = [f"{work} ({count:,} of {rows[work]:,})" for work, count in cut.items() if count]
    yield from _told(longer, "rows are longer than what is learned of them, and cut, in", "raise recipe.max_length")
    items = {str(cell): count for cell, count in found.target_items.items()}
    for model, cells in prompts.items():
        asked = [f"{cell} ({count:,} of {items[cell]:,})" for cell, count in cells.items()]
        what = f"prompts are longer than {model} reads, and lose their beginning, in"
        yield from _told(asked, what, "cut the fields of their documents: tasks[].clip")


def _of_all_items(found: Survey) -> Iterator[str]:
    """Targets that are in no table of accuracies, for no item has a value of what speaks for them."""
    library, told = found.library, []
    for cell in found.targets:
        if not cell.held_out and (name := of_all_items(library.load(cell), library.metrics(cell))) is not None:
            told.append(f"{cell} ({name})")
    then = "what is claimed of them is in `corpus`, paired in draws of the items, and in no mean of accuracies"
    yield from _told(told, "only all items together have the metric of", then)


def _drawn(found: Survey) -> Iterator[str]:
    """What limits leave out, and ids by which they cannot tell rows apart."""
    for part, (what, key) in {"train": ("rows to learn", "train.limit"), "test": ("items", "scoring.limit")}.items():
        limited = found.library.limited.items()
        bitten = [f"{cell} ({n:,} of {of:,})" for (cell, split), (n, of) in limited if split == part]
        yield from _told(bitten, f"a limit leaves out {what} of", f"{key} says so")
    fix, shared, alike = "name a column of ids of their own: train.id_field", found.library.shared, found.library.alike
    yield from _told(_named(shared), "rows are drawn by ids that several of them share, of", fix)
    others = _named({at: of for at, of in alike.items() if at not in shared})
    yield from _told(others, "ids stand more than once, of", f"nothing is drawn by them now, else {fix}")


def _named(ids: Mapping[tuple[Cell, Split], tuple[int, str]]) -> list[str]:
    words = {"train": "rows to learn", "test": "items"}
    return [f"{cell} ({n:,} {words[split]}, {name!r:.40} among them)" for (cell, split), (n, name) in ids.items()]


def _told(cells: Sequence[str], what: str, then: str) -> Iterator[str]:
    if cells:
        more = f" and {len(cells) - 3:,} more" if len(cells) > 3 else ""
        yield f"{what} {', '.join(cells[:3])}{more}: {then}"
