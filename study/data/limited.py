"""Which items a limit takes: drawn once per task from a seed, alike in every language, in proportion to the answers.

The first N rows of a file may all have one answer: then whoever learns to give it gains 50 points. Items have places in
a queue that their names decide, so the same ones are taken in every language that has them; in every stretch of the
queue the answers are as common as in the whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

SEED = 20251113


def queue(names: Sequence[str], answers: Sequence[str], salt: str) -> dict[str, int]:
    """Place of every name: answers in turn by their shares, drawn by `salt` within an answer."""
    order = sorted(range(len(names)), key=lambda i: (_lot(names[i], salt), names[i]))
    total, so_far = Counter(answers), Counter[str]()
    share = {}
    for i in order:
        share[i] = (so_far[answers[i]] + 0.5) / total[answers[i]]
        so_far[answers[i]] += 1
    places = sorted(order, key=lambda i: share[i])  # stable: within equal shares in the order of the lots
    return {names[i]: place for place, i in enumerate(places)}


def taken(names: Sequence[str], places: Mapping[str, int], limit: int, salt: str) -> list[int]:
    """Numbers of the `limit` names that are first in the queue, in the order of `names`; unknown names are last."""
    lots = [(places.get(name, len(places)), _lot(name, salt), number) for number, name in enumerate(names)]
    return sorted(number for _, _, number in sorted(lots)[:limit])


def _lot(name: str, salt: str) -> str:
    return hashlib.sha256(f"{SEED}:{salt}:{name}".encode()).hexdigest()
