"""Which part files of the results count, also while small ones are being put together into a large one.

That is a swap: `swaps/<number>.json` names the large part and those that it replaces before the large one is there,
and goes when they are gone. Until the large part is listed the others count, and from then on it alone does: no row is
lost or there twice whenever a writer is killed and whenever a reader looks. The number of the last swap that has ended
stays, so that a reader notices one that began and ended while it was listing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from study.store.contents import Damaged, mapping
from study.store.files import File, Files
from study.store.filesystem import ATTEMPTS
from study.store.layout import ENDED, OPEN, SWAPS, rows_in, swap_file, swap_in

READ_AGAIN = 3
Read = TypeVar("Read")


@dataclass(frozen=True)
class Swap:
    """A large part, and the parts that it replaces: paths in the store."""

    number: int
    into: str
    replaced: tuple[str, ...]

    def begin(self, store: Files) -> None:
        """Announce it, before the large part is written."""
        text = {name: value for name, value in asdict(self).items() if name != "number"}
        store.write(swap_file(self.number, OPEN), json.dumps(text, indent=0).encode())

    def is_whole(self, listed: set[str]) -> bool:
        """Whether a listing shows one side of it: all that is not so was listed while files came and went."""
        return self.into in listed or listed.issuperset(self.replaced)


def newest(store: Files) -> int:
    """The number of the newest swap; 0 before the first."""
    return max((swap_in(file) for file in store.files(SWAPS, "")), default=0)


def open_swaps(store: Files) -> list[Swap]:
    """Read the swaps that have not ended. Raises FileNotFoundError where one ends meanwhile."""
    return _read(store, store.files(SWAPS, OPEN))


def end(store: Files, swaps: Sequence[Swap]) -> None:
    """Forget swaps whose replaced parts are gone, or whose large part never came; the newest one's number stays."""
    last = newest(store)
    store.write(swap_file(last, ENDED), b"")
    for swap in swaps:
        store.delete(swap_file(swap.number, OPEN))
    for file in store.files(SWAPS, ENDED):
        if swap_in(file) < last:
            store.delete(file)


def current(store: Files, folder: str) -> list[File]:
    """List the parts of a folder that count: each row once."""
    for attempt in range(ATTEMPTS):
        before = store.files(SWAPS, "")
        try:
            known = {file: _read(store, [file])[0] for file in before if file.endswith(OPEN)}
            listed = store.listed(folder, ".parquet")
            after = store.files(SWAPS, "")
            known |= {file: _read(store, [file])[0] for file in after if file.endswith(OPEN) and file not in known}
        except FileNotFoundError:  # a swap has just ended
            continue
        there = {file.path for file in listed}
        whole = all(swap.is_whole(there) for swap in known.values() if swap.into.startswith(f"{folder}/"))
        if _is_seen(before, after, known) and (whole or attempt == ATTEMPTS - 1):  # somebody may have deleted some
            gone = {part for swap in known.values() if swap.into in there for part in swap.replaced}
            return [file for file in listed if file.path not in gone]
    raise OSError(f"{store.path(SWAPS)} changes faster than {folder} can be listed")


def by_size(parts: Sequence[File]) -> tuple[list[File], list[File]]:
    """Divide parts into large ones and others."""
    large = [part for part in parts if rows_in(part.path) is not None]
    return large, [part for part in parts if rows_in(part.path) is None]


def undisturbed(read: Callable[[], Read]) -> Read:
    """Read parts, from their listing on; again where one has been replaced before it was opened."""
    for _ in range(READ_AGAIN):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def _is_seen(before: Sequence[str], after: Sequence[str], known: dict[str, Swap]) -> bool:
    """Whether every swap that ended between two looks was seen while it was open."""
    ended = max((swap_in(file) for file in after if file.endswith(ENDED)), default=0)
    first = max((swap_in(file) for file in before), default=0) + 1
    newest_after = max((swap_in(file) for file in after), default=0)  # torn itself where it lacks what was there before
    return newest_after >= first - 1 and {swap.number for swap in known.values()} >= set(range(first, ended + 1))


def _read(store: Files, files: Sequence[str]) -> list[Swap]:
    return [_parse(file, data) for file, data in zip(files, store.each(store.read, files), strict=True)]


def _parse(file: str, data: bytes) -> Swap:
    """Parse a swap; one that is damaged replaces nothing: rows that are there twice are better than none."""
    try:
        text = mapping(data)
        return Swap(swap_in(file), str(text["into"]), tuple(text["replaced"]))
    except (Damaged, KeyError, TypeError):
        return Swap(swap_in(file), "", ())
