"""Rows that wait until the base they were made on was looked at.

Invariant: the store holds no row of a base that another subject may have written to; a process that dies before the
look leaves none, and the next run makes them.
"""

from __future__ import annotations

import pyarrow as pa

from study.prompts import Prompts, Way
from study.store import schema
from study.store.layout import ITEMS, SCORES
from study.store.store import Store


class Held:
    """Items and scores of a batch, as tables: they are small there."""

    def __init__(self, store: Store) -> None:
        self._store, self._prompts = store, Prompts(store)
        self._parts: dict[str, list[pa.Table]] = {ITEMS: [], SCORES: []}

    def add(self, items: list[dict[str, object]], scores: list[dict[str, object]]) -> None:
        self._parts[ITEMS].append(schema.table(schema.ITEMS, items))
        self._parts[SCORES].append(schema.table(schema.SCORES, scores))

    def ask(self, way: Way, questions: pa.Table) -> None:
        """Keep what a target asks, at once: no subject changes it."""
        self._prompts.keep(way, questions)

    def drop(self) -> None:
        """Forget what waits."""
        for parts in self._parts.values():
            parts.clear()

    def write(self) -> None:
        """Put what waits into the store: the items first, then the scores that say they are complete."""
        for folder, parts in self._parts.items():
            if parts and (rows := pa.concat_tables(parts)).num_rows:
                self._store.add_part(folder, rows)
        self.drop()
