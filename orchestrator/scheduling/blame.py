"""Which nodes lose too many of a study's processes to be given more: a decision, a function of what happened when.

A node that dies is simply gone. One that stays but keeps losing workers (its memory is short, its device is broken)
would cost every unit that is sent there its budget. Work that kills its processes wherever it runs takes one node out
at most: what it does to others after that says nothing about them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

MOST_LOSSES = 3
WINDOW_S = 3600.0


@dataclass
class Blame:
    """Losses by node, as times in seconds with what was at work, and the nodes that are used no more."""

    excluded: set[str] = field(default_factory=set)
    _losses: dict[str, list[tuple[float, frozenset[str]]]] = field(default_factory=dict)
    _suspects: dict[str, str] = field(default_factory=dict)  # work for which a node was excluded, and that node

    def add(self, node: str, work: Collection[str], dispensable: bool, now: float) -> bool:
        """Book a process lost on a node, at `work` (ids of units). Whether that excludes the node.

        MOST_LOSSES within WINDOW_S do, unless the study cannot do without the node.
        """
        if any(self._suspects.get(one, node) != node for one in work):
            return False
        recent = [(at, what) for at, what in self._losses.get(node, []) if now - at < WINDOW_S]
        self._losses[node] = recent = [*recent, (now, frozenset(work))]
        if len(recent) < MOST_LOSSES or node in self.excluded or not dispensable:
            return False
        self.excluded.add(node)
        self._suspects |= {one: node for _, what in recent for one in what}
        return True

    def take_back(self, nodes: Collection[str]) -> None:
        """Use nodes again that had been excluded."""
        self.excluded -= set(nodes)
        for node in nodes:
            self._losses.pop(node, None)


def selector(excluded: Collection[str]) -> dict[str, str]:
    """Ray's label selector for all nodes but these."""
    return {"ray.io/node-id": f"!in({','.join(sorted(excluded))})"} if excluded else {}
