"""Which epoch of an adapter was kept: what it had come to then is the adapter itself, and is not scored again."""

from __future__ import annotations

from collections.abc import Iterable

from study.config import Recipe
from study.identity import epoch_id
from study.store.layout import has_epochs
from study.store.records import AdapterRecord


def kept_ids(records: Iterable[AdapterRecord]) -> dict[str, str]:
    """The adapter of each kept epoch, by the id that this would have by itself."""
    return {
        epoch_id(record.adapter_id, record.course.best_epoch): record.adapter_id
        for record in records
        if record.course.epochs
    }


def lacks_epochs(record: AdapterRecord, recipe: Recipe) -> bool:
    """Whether single epochs are to be scored, and were not written when the adapter was trained."""
    return recipe.shown_epochs > 0 and not has_epochs(record.files)
