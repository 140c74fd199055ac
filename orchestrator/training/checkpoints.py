"""Checkpoints of gangs in the store: `checkpoints/<digest of the members>.safetensors`, written anew after each epoch.

A gang goes on from any checkpoint that holds all of its members, so one that was halved, or of which some members are
done, loses nothing. Its last one, after which no step is left, is there before the first adapter is put: a gang that is
torn while they are put ends as it would have. Deleting a checkpoint costs the epochs that are in it, never more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from study.identity import digest
from study.store.layout import CHECKPOINTS
from study.store.safetensors_header import header_end
from study.store.store import Store
from trainers.checkpoint_header import VERSION, header

HEAD = 1 << 18  # bytes, which hold most headers: one request for each
LOOKS = 3  # at one that is being written anew meanwhile


@dataclass(frozen=True)
class Begun:
    """What a checkpoint says of itself: to how many `rows` and `tokens` per pass an out-of-memory had brought its gang.

    Older ones know of rows alone.
    """

    file: str
    step: int
    members: frozenset[str]
    failed: frozenset[str]
    rows: int | None
    tokens: int | None = None


def file_of(gang: Iterable[str]) -> str:
    return f"{CHECKPOINTS}/{digest(sorted(gang))}.safetensors"


def begun(store: Store) -> list[Begun]:
    """All checkpoints of the store that this program can read. A damaged one counts as none."""
    found = store.each(lambda file: _begun(store, file), store.files(CHECKPOINTS, ".safetensors"))
    return [checkpoint for checkpoint in found if checkpoint is not None]


def _begun(store: Store, file: str) -> Begun | None:
    size = HEAD
    for _ in range(LOOKS):
        try:
            start = store.read_start(file, size)
            if header_end(start) > size:
                size = header_end(start)
                continue
            return _from_header(file, header(start))
        except FileNotFoundError:  # another trial has ended since they were listed, and with it its checkpoint
            return None
        except (ValueError, KeyError, TypeError):  # damaged, or replaced while it was read
            continue
    return None


def _from_header(file: str, state: dict[str, Any]) -> Begun | None:
    if state["version"] != VERSION:
        return None
    members = dict(state["members"])
    failed = frozenset(name for name, books in members.items() if books["failure"] is not None)
    return Begun(file, state["step"], frozenset(members), failed, state["rows"], state.get("tokens"))


def parts(gang: Sequence[str], checkpoints: Iterable[Begun]) -> list[list[str]]:
    """The gang cut so that all of a part can go on from one checkpoint, or from none; smaller checkpoints first."""
    left = list(gang)
    found = []
    for checkpoint in sorted(checkpoints, key=lambda c: (len(c.members), -c.step, c.file)):
        part = [name for name in left if name in checkpoint.members]
        left = [name for name in left if name not in checkpoint.members]
        found.append(part)
    return [part for part in [*found, left] if part]


def latest(part: Iterable[str], checkpoints: Iterable[Begun]) -> Begun | None:
    """The checkpoint that has come furthest with all of these members."""
    fitting = [checkpoint for checkpoint in checkpoints if checkpoint.members.issuperset(part)]
    return max(fitting, key=lambda c: (c.step, -len(c.members), c.file), default=None)
