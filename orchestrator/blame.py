"""Which nodes lose too many of a study's processes to be given more: a decision, a function of what happened when.

A node that dies is simply gone. One that stays but keeps losing workers (its memory is short, its device is broken)
would cost every unit that is sent there its budget.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

MOST_LOSSES = 3
WINDOW_S = 3600.0


@dataclass
class Blame:
    """Losses by node, as times in seconds, and the nodes that are used no more."""

    excluded: set[str] = field(default_factory=set)
    _losses: dict[str, list[float]] = field(default_factory=dict)

    def add(self, node: str, alive: Collection[str], now: float) -> bool:
        """Book a process lost on a node. Whether that excludes the node: MOST_LOSSES within WINDOW_S do.

        The last node that is left is never excluded, nor is one that has died, which is gone as it is.
        """
        recent = [time for time in self._losses.get(node, []) if now - time < WINDOW_S]
        self._losses[node] = [*recent, now]
        others = set(alive) - self.excluded - {node}
        if len(self._losses[node]) < MOST_LOSSES or node not in alive or node in self.excluded or not others:
            return False
        self.excluded.add(node)
        return True


def selector(excluded: Collection[str]) -> dict[str, str]:
    """Ray's label selector for all nodes but these."""
    return {"ray.io/node-id": f"!in({','.join(sorted(excluded))})"} if excluded else {}
