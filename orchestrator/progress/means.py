"""The mean of each metric over the targets of what is scored: of an adapter, or of a base.

A mean is there once no target of its subject is left to score, and counts those that the store had before the run. A
target that failed is left out; a subject none of whose targets has a score has no mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import polars as pl

from orchestrator.planning.plan import Plan
from study.store.store import Store

_COLUMNS = ("subject_id", "target_id", "metric", "value")


class Means:
    """Sums of what is scored, by subject."""

    def __init__(self, plan: Plan, store: Store) -> None:
        """Reads the scores of those subjects that only some are left of. Raises what the store raises."""
        whole = len(plan.grid.targets)
        self._open = Counter({part.subject: len(part.targets) for part in plan.parts})
        self._sums: dict[str, dict[str, tuple[float, int]]] = {}
        begun = [subject for subject, left in self._open.items() if left < whole]
        if begun:
            self._read(store, begun, plan.grid.target_ids)

    def scored(self, subject: str, metrics: Mapping[str, float]) -> dict[str, float]:
        """Book a score. The subject's means, if it was the last one that was open; else nothing."""
        for name, value in metrics.items():
            self._add(subject, name, value, 1)
        return self._closed(subject)

    def failed(self, subject: str) -> dict[str, float]:
        """Book a target that will have no score. Returns what `scored` returns."""
        return self._closed(subject)

    def _closed(self, subject: str) -> dict[str, float]:
        self._open[subject] -= 1
        if self._open[subject]:
            return {}
        return {name: total / count for name, (total, count) in self._sums.pop(subject, {}).items()}

    def _add(self, subject: str, name: str, total: float, count: int) -> None:
        sums = self._sums.setdefault(subject, {})
        before, seen = sums.get(name, (0.0, 0))
        sums[name] = before + total, seen + count

    def _read(self, store: Store, subjects: list[str], targets: tuple[str, ...]) -> None:
        wanted = pl.col("subject_id").is_in(subjects) & pl.col("target_id").is_in(list(targets))
        found = [
            pl.DataFrame(pl.from_arrow(batch)).with_columns(pl.col(_COLUMNS[:3]).cast(pl.String)).filter(wanted)
            for batch in store.score_batches(_COLUMNS)
        ]
        if not found:
            return
        rows = pl.concat(found).unique(_COLUMNS[:3])
        for subject, name, total, count in (
            rows.group_by("subject_id", "metric").agg(pl.sum("value"), pl.len().alias("count")).iter_rows()
        ):
            self._add(subject, name, total, count)
