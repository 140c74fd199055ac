"""Long fields of documents, cut to so many characters before any template sees them (`tasks[].clip`).

A prompt that is longer than the model reads is cut from the left: of an article that takes the instruction and the
lead. What is scored and what is learned are clipped alike, few-shot examples too, and before a task's own preparation
of rows; identities hold what that comes to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from lm_eval.api.task import ConfigurableTask

from study.cells import Cell
from study.data.harness import Documents
from study.errors import TaskError

Fields = Mapping[str, int]  # the most characters of each


def clipped(rows: Documents, fields: Fields, key: str) -> Documents:
    """Rows with these fields cut, as far as they have them. Raises TaskError for one that is no text."""
    there = cast(Any, rows).column_names  # a `datasets.Dataset`, which no type here states
    own = {name: most for name, most in fields.items() if name in there}
    if not own:
        return rows
    cut: Documents = cast(Any, rows).map(_cut, batched=True, fn_kwargs={"fields": own, "key": key})
    return cut


@contextmanager
def clipping(cell: Cell, fields: Fields, learns_its_own: bool) -> Iterator[None]:
    """Within, the data of a task of lm-eval's are clipped as soon as they are loaded.

    Raises TaskError for a field that they have not, where no others are learned (`learns_its_own`), and for a task
    that loads its data in its own way.
    """
    if not fields:
        yield
        return
    made, key, told = ConfigurableTask.download, f"{cell}: tasks[{cell.task}].clip", []

    def download(self: ConfigurableTask, *arguments: Any, **options: Any) -> None:  # what it replaces
        made(self, *arguments, **options)
        if learns_its_own:
            for rows in self.dataset.values():
                check_there(fields, rows.column_names, key)
        self.dataset = type(self.dataset)({name: clipped(rows, fields, key) for name, rows in self.dataset.items()})
        told.append(key)

    ConfigurableTask.download = download
    try:
        yield
    finally:
        ConfigurableTask.download = made
    if not told:
        raise TaskError(f"{key}: the task loads its data in its own way, so nothing of them can be clipped: drop it")


def check_there(fields: Fields, columns: Sequence[str], key: str) -> None:
    """Raise TaskError for a field that is no column."""
    for name in fields:
        if name not in columns:
            raise TaskError(f"{key}: {name!r} is no column of the data; columns are {', '.join(columns)}")


def _cut(batch: Mapping[str, Sequence[object]], fields: Fields, key: str) -> dict[str, list[object]]:
    return {name: [_text(value, name, key, most) for value in batch[name]] for name, most in fields.items()}


def _text(value: object, name: str, key: str, most: int) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TaskError(f"{key}: {name!r} is {value!r:.60}, not a text: leave it out")
    return value if value is None else value[:most]
