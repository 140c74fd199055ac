"""What the scores of a store took, summed up from the same rows that tell which of them are there.

Rows are read once: they pass here on their way to who marks what is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa

from orchestrator.planning.grid import Grid
from study.store.parts import undisturbed
from study.store.store import Store

TEXTS = ("model", "device", "target_id", "target_task", "target_language", "metric")
NUMBERS = ("seconds", "tokens", "n_items")


def took_in(store: Store) -> pl.DataFrame:
    """What the scores of a store took."""

    def summed() -> pl.DataFrame:
        spent = Spent()
        for _ in spent.passing(store.score_batches([*TEXTS, *NUMBERS], TEXTS)):
            pass
        return spent.table()

    return undisturbed(summed)


class Spent:
    """Sums by model, device and target: seconds, tokens, items, units (`len`)."""

    def __init__(self) -> None:
        self._sums: list[pl.DataFrame] = []

    def passing(self, scored: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Add rows that have TEXTS and NUMBERS, and pass them on."""
        for batch in scored:
            rows = pl.DataFrame(pl.from_arrow(batch.select([*TEXTS, *NUMBERS])))
            self._sums.append(rows.group_by(TEXTS).agg(pl.sum(*NUMBERS), pl.len()))
            yield batch

    def table(self) -> pl.DataFrame:
        """One row for each; of a unit's rows, one per metric, one counts. Without columns where nothing was scored."""
        if not self._sums:
            return pl.DataFrame()
        keys = TEXTS[:-1]
        per_metric = pl.concat([part.with_columns(pl.col(TEXTS).cast(pl.String)) for part in self._sums])
        units = per_metric.group_by(TEXTS).agg(pl.sum(*NUMBERS, "len"))
        return units.sort(TEXTS).unique(keys, keep="first", maintain_order=True).drop("metric")


def kept_epochs(store: Store, grid: Grid) -> set[str]:
    """The epochs, of adapters all of whose epochs are scored, that are the adapters themselves."""
    units = {one.of.adapter_id for one in grid.epochs}
    return {one.kept_id for name, one in store.records().items() if name in units} if units else set()
