"""Which items a limit takes: drawn once per task from a seed, alike in every language, in proportion to the answers.

The first N rows of a file may all have one answer: then whoever learns to give it gains 50 points. So items stand in a
queue that their names decide, and a limit takes those in front: the same ones in every language that has them, more of
them where it is higher, and in every stretch of the queue the answers are as common as in the whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

SEED = 20251113


def queue(names: Sequence[str], answers: Sequence[str], task: str) -> dict[str, int]:
    """Place of every name: answers in turn by their shares, drawn by lot within an answer."""
    order = sorted(range(len(names)), key=lambda i: (_lot(names[i], task), i))
    total, so_far = Counter(answers), Counter[str]()
    share = {}
    for i in order:
        share[i] = (so_far[answers[i]] + 0.5) / total[answers[i]]
        so_far[answers[i]] += 1
    places = sorted(order, key=lambda i: share[i])  # stable: within equal shares in the order of the lots
    return {names[i]: place for place, i in enumerate(places)}


def behind(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """One queue of two: who is in the first has the place there, the others follow in the order of the second."""
    return {name: len(first) + place for name, place in second.items()} | dict(first)


def taken(names: Sequence[str], places: Mapping[str, int], limit: int) -> list[int]:
    """Numbers of the `limit` names that are in front, in the order of `names`."""
    return sorted(sorted(range(len(names)), key=lambda i: (places[names[i]], i))[:limit])


def _lot(name: str, task: str) -> str:
    return hashlib.sha256(f"{SEED}:{task}:{name}".encode()).hexdigest()
