"""Which rows of its split a cell uses: those that a manifest names, or that another language has; those under a limit.

Rows are known by their ids (`study.data.manifest`), in what is trained on and in what is scored alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from study.cells import Cell
from study.config import TaskConfig, TrainOverride
from study.data.group.document import Doc
from study.data.harness import Document, Documents
from study.data.learned import wanted
from study.data.limited import behind, queue, taken
from study.data.manifest import positions, row_id, with_ids

Split = Literal["train", "test"]
Tells = Callable[[int, Document], bool]  # whether a row, by its number, says what is right


class Rows:
    """The rows of a study's cells. `bitten` and `lacking` are told while they are chosen."""

    def __init__(
        self,
        tasks: Mapping[str, TaskConfig],
        limit: int | None,
        languages: Sequence[str],
        documents: Callable[[Cell, Split], Documents],
        answers: Callable[[Cell, Documents], list[str]],
    ) -> None:
        """`limit` is of what is scored; in the first of `languages` a limit draws a task's items for all."""
        self._tasks, self._limit, self._languages = tasks, limit, tuple(languages)
        self._documents, self._answers = documents, answers
        self._queues: dict[tuple[Cell, Split], dict[str, int]] = {}
        self.bitten: dict[tuple[Cell, Split], tuple[int, int]] = {}  # rows that a limit takes, and of how many
        self.lacking: dict[tuple[Cell, Split], int] = {}  # of another language's rows those that are not there
        self.shared: dict[tuple[Cell, Split], tuple[int, str]] = {}  # rows drawn from by ids that others have, and one
        self.alike: dict[tuple[Cell, Split], tuple[int, str]] = {}  # rows with such ids, whatever these are for

    def named(self, cell: Cell, split: Split, documents: Documents) -> list[int]:
        """Number the documents that manifest or `rows_of` name, for training those that `where` lets pass."""
        chosen, where = self._by_id(cell, split, documents), self._train(cell).where
        if split == "test":
            return sorted(chosen)
        if where is None:
            return chosen
        return [number for number in chosen if wanted(cell, number, documents[number], where)]

    def limited(self, cell: Cell, split: Split, documents: Documents, chosen: list[int]) -> list[int]:
        """Take as many of the chosen documents as the limit of the split allows, in their order."""
        task = self._tasks[cell.task]
        limit = self._limit if split == "test" else task.train.limit
        if limit is None or limit >= len(chosen):
            return chosen
        self.bitten[cell, split] = limit, len(chosen)
        return [chosen[i] for i in self.in_front(cell, split, self.names(cell, documents, chosen), limit)]

    def names(self, cell: Cell, documents: Documents, chosen: Iterable[int]) -> list[str]:
        """The ids of documents."""
        field = self._train(cell).id_field
        return [of_group(documents[i]) + row_id(documents[i], i, field) for i in chosen]

    def column(self, cell: Cell) -> str:
        """The column that rows are known by, if they have it."""
        return self._train(cell).id_field or "id"

    def see(self, cell: Cell, split: Split, ids: Sequence[str]) -> None:
        """Note which of the rows that are used have an id that others of them have."""
        if (several := _several(ids)) is not None:
            self.alike[cell, split] = several

    def in_front(self, cell: Cell, split: Split, names: Sequence[str], limit: int) -> list[int]:
        """Numbers of so many of the named rows, in their order: those in front of the queue of the task's languages."""
        if (several := _several(names)) is not None:
            self.shared[cell, split] = several
        places = self._queue(self._first(cell, split), split)
        if not places.keys() >= set(names):
            places = behind(places, self._queue(cell, split))
        return taken(names, places, limit)

    def _first(self, cell: Cell, split: Split) -> Cell:
        """The cell in which a limit draws: of a test set's translation, the original's, whose items it has."""
        original = self._tasks[cell.task].original(cell.language) if split == "test" else None
        name = cell.task if original is None else original.task
        language = next((one for one in self._languages if self._tasks[name].exists_in(one)), cell.language)
        return Cell(name, language)

    def _train(self, cell: Cell) -> TrainOverride[str]:
        return self._tasks[cell.task].train.of(cell.language)

    def _by_id(self, cell: Cell, split: Split, documents: Documents) -> list[int]:
        train = self._train(cell)
        if train.rows_of is None:
            return positions(train.manifest, split, documents, train.id_field)
        there = Cell(cell.task, train.rows_of)
        others = self._documents(there, split)
        ids = self.names(there, others, self._by_id(there, split, others))
        found = with_ids(ids, documents, train.id_field)
        self.lacking[cell, split] = len(ids) - len(found)
        return found

    def _queue(self, cell: Cell, split: Split) -> dict[str, int]:
        if (cell, split) not in self._queues:
            documents = self._documents(cell, split)
            chosen = self.named(cell, split, documents)
            names = self.names(cell, documents, chosen)
            answers = self._answers(cell, [documents[i] for i in chosen])
            self._queues[cell, split] = queue(names, answers, f"{cell.task}:{split}")
        return self._queues[cell, split]


def _several(names: Sequence[str]) -> tuple[int, str] | None:
    """How many have a name that others have, and one such name; None where all have their own."""
    several = {name: count for name, count in Counter(names).items() if count > 1}
    return (sum(several.values()), next(iter(several))) if several else None


def of_group(document: Document) -> str:
    """What tells a row of a group's from those of its other tasks, which may have the same ids."""
    return f"{document.number}:" if isinstance(document, Doc) else ""
