"""Compaction: many small part files of the results become few large ones, with the same rows, by model and target.

Who does it holds the lease. Each large part takes the place of its sources in a swap (study.store.parts), and is read
back before they go. Readers that have listed them meanwhile have some seconds to open them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from study.store import schema
from study.store.contents import Damaged, check_whole, table
from study.store.files import File
from study.store.layout import ITEMS, OPEN, SCORES, SWAPS, is_as_named, new_part, rows_in, swap_in
from study.store.parquet import to_bytes
from study.store.parts import Swap, by_size, current, end, newest, open_swaps
from study.store.store import Store

WORTH_IT = 1000  # small parts of a kind from which on a run compacts them
ROWS, BYTES = 1 << 19, 1 << 26  # of a large part, as a file: it is put together, and mostly read, as a whole
GRACE_S = 10.0  # others have so long to read what they have listed
SORTED = ("model", "target_task", "target_language")
KINDS = ((ITEMS, schema.ITEMS), (SCORES, schema.SCORES))


@dataclass
class _Group:
    """Parts that hold rows of the same models, and either of bases or of adapters."""

    tables: dict[str, pa.Table] = field(default_factory=dict)  # by file
    full: float = 0.0  # share of what a large part holds

    def add(self, part: File, rows: pa.Table) -> None:
        self.tables[part.path] = rows
        self.full += _share(part, rows.num_rows)

    @property
    def files(self) -> list[str]:
        """Its files in the order in which their rows came: what is in large parts already came first."""
        return sorted(self.tables, key=lambda file: (rows_in(file) is None, file))


def is_due(store: Store) -> bool:
    """Whether there are so many small parts that a run should compact them."""
    return any(len(by_size(current(store, folder))[1]) > WORTH_IT for folder, _ in KINDS)


def compact(store: Store, wait: Callable[[float], None] = time.sleep) -> Counter[str]:
    """Put all small parts into large ones. Returns how many files were replaced, by folder. Needs the lease."""
    settle(store)
    replaced: Counter[str] = Counter()
    begun: list[Swap] = []
    try:
        for folder, like in KINDS:
            for group in _groups(store, folder, like):
                _put_together(store, folder, like, group, begun)
                replaced[folder] += len(group.tables)
        if replaced:
            wait(GRACE_S)
    finally:
        _take_back(store, begun)
    if replaced:
        settle(store)
        with suppress(Damaged, schema.OtherVersion):  # an index is a cache; whoever needs the rows tells
            store.write_indexes()
    return replaced


def settle(store: Store) -> None:
    """End the swaps that are open: where the large part is there and whole, the others go. Needs the lease."""
    swaps = open_swaps(store)
    for swap in swaps:
        if swap.into and store.exists(swap.into):
            if not is_as_named(swap.into, store.read(swap.into)):
                store.delete(swap.into)
                continue
            for _ in store.each(store.delete, swap.replaced):
                pass
    if swaps:
        end(store, swaps)


def _groups(store: Store, folder: str, like: pa.Schema) -> Iterator[_Group]:
    """Read the small parts, then large ones with room; whoever is full, or would be held too long, comes out.

    A large part that no small one joins stays as it is.
    """
    large, small = by_size(current(store, folder))
    sources = [*small, *(part for part in large if _share(part, rows_in(part.path) or 0) < 0.5)] if small else []
    groups: dict[tuple[object, ...], _Group] = {}
    for part, rows in zip(sources, store.each(lambda part: _whole(store, part, like), sources), strict=True):
        if rows is None:
            continue
        key = tuple(sorted(pc.unique(rows.column("model")).to_pylist())), rows.column("adapter_id").null_count > 0
        if key not in groups and rows_in(part.path) is not None:
            continue
        groups.setdefault(key, _Group()).add(part, rows)
        if groups[key].full >= 1 or sum(group.full for group in groups.values()) >= 2:
            yield groups.pop(max(groups, key=lambda key: groups[key].full))
    yield from groups.values()


def _share(part: File, rows: int) -> float:
    """The share of a large part that a part makes up, by its rows or its bytes."""
    return max(rows / ROWS, part.size / BYTES)


def _whole(store: Store, part: File, like: pa.Schema) -> pa.Table | None:
    """Read a part; None for one that is damaged, or of another version: it stays as it is, and the check tells."""
    data = store.opened(part.path).read()
    try:
        check_whole(part.path, data)
        return table(part.path, like, data)
    except (Damaged, schema.OtherVersion):
        return None


def _put_together(store: Store, folder: str, like: pa.Schema, group: _Group, begun: list[Swap]) -> None:
    """Write the large part of a group, and note its swap. Rows that stand there twice keep their order."""
    tables = [like.empty_table(), *(group.tables[file] for file in group.files)]
    rows = pa.concat_tables(tables, promote_options="default").combine_chunks()
    rows = rows.take(pc.sort_indices(rows, [(name, "ascending") for name in SORTED]))
    data = to_bytes(rows.replace_schema_metadata(like.metadata))
    into = new_part(folder, data, rows.num_rows)
    swap = Swap(newest(store) + 1, into, tuple(group.files))
    swap.begin(store)
    begun.append(swap)
    store.write(into, data)


def _take_back(store: Store, begun: Sequence[Swap]) -> None:
    """Delete large parts whose swap another process has ended before they were there: it has taken the lease over.

    All that such a part was to replace is there then, and nobody deletes it for that swap any more.
    """
    with suppress(OSError):  # a part that stays holds rows twice, which readers take once
        there = {swap_in(file) for file in store.files(SWAPS, OPEN)}
        for swap in begun:
            if swap.number not in there and all(store.exists(part) for part in swap.replaced):
                store.delete(swap.into)
