"""What targets ask, for people: kept once for each way of asking, beside the answers and not in them.

Invariant: a file of it is named by the target, the way of asking and its content, so that who writes it again writes
the same, and no writer waits for another. Nothing of a score depends on it: stores of older releases have none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa

from study.store import contents, schema
from study.store.contents import reading
from study.store.layout import PROMPTS, prompts_file, way_in
from study.store.parquet import to_bytes
from study.store.store import Store

Way = tuple[str, str | None]  # a target_id, and the identity of the base that is asked, or None where all are asked so


class Prompts:
    """Keeps what targets ask in a store. The folder is listed once, before the first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: set[Way] | None = None

    def keep(self, way: Way, questions: pa.Table) -> None:
        """Write what a target asks, unless it is there: a table of `schema.PROMPTS`."""
        if self._kept is None:
            self._kept = set(kept(self._store))
        if way not in self._kept:
            data = to_bytes(questions)
            self._store.write(prompts_file(*way, data), data)
            self._kept.add(way)


def kept(store: Store) -> Mapping[Way, list[str]]:
    """The files of each way of asking: several where releases wrote the same in other bytes."""
    found: dict[Way, list[str]] = defaultdict(list)
    for file in store.files(PROMPTS, ".parquet", recursive=True):
        found[way_in(file)].append(file)
    return found


def check(file: str, data: bytes) -> None:
    """Raise Damaged unless these are the bytes that the file was written with, and OtherVersion."""
    contents.check_whole(file, data)
    contents.table(file, schema.PROMPTS, data)


def read(store: Store, file: str) -> pa.Table:
    """Read one. Raises Damaged, OtherVersion."""
    data = store.read(file)
    with reading(file):
        check(file, data)
        return contents.table(file, schema.PROMPTS, data).select(schema.PROMPTS.names)
