"""Items that hang together, as the config's `tasks[].group_field` has it: the questions of a passage are one cluster.

Invariant: a cluster is the same in all models, and in all languages of a task. Where languages share values of the
column, a value is a group in all of them, and an item without one is one with its number. Where they share none (each
has its own words for it), items of the same number are one question, and so groups that share a number are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from analysis.reading.panels import Panel
from study.store.seen import Groups

Ints = npt.NDArray[np.int64]


def grouped(panels: Sequence[Panel], seen: Mapping[str, Groups]) -> list[Panel]:
    """The panels, with the groups of those tasks of which planning has seen any (`seen`, by cell)."""
    found = list(panels)
    for task in sorted({panel.task for panel in panels}):
        at = [i for i, panel in enumerate(panels) if panel.task == task]
        mine = {i: seen.get(f"{task}/{panels[i].language}", {}) for i in at}
        if any(mine.values()):
            for i, group in _numbered({i: (panels[i], groups) for i, groups in mine.items()}).items():
                found[i] = replace(panels[i], group=group)
    return found


def hanging(panels: Sequence[Panel]) -> Iterator[str]:
    """For people: of which tasks items were taken together, and of which they cannot be."""
    for task in sorted({panel.task for panel in panels if panel.group is not None}):
        whole = [panel for panel in panels if panel.task == task and panel.group is not None]
        mine = [(panel.docs, panel.group) for panel in whole]
        items, apart = (len(np.unique(np.concatenate(some))) for some in zip(*mine, strict=True))
        said = f"Items of {task} hang together in {apart:,} groups (tasks[].group_field): "
        if all(panel.valued for panel in whole):
            yield f"{said}these, and not the {items:,} items, are what intervals and claims count."
        else:
            yield (
                f"{said}but its metric is of all {items:,} items together and was drawn item by item as it was scored, "
                "so its intervals are too narrow and what is called worse or better may be luck."
            )


def together(scores: npt.NDArray[np.floating], group: Ints) -> float:
    """How many items that hang together tell as much as one alone: the ratio of their mean's variances, 1 at least."""
    rest = scores - scores.mean(dtype=np.float64)
    sums = np.bincount(np.unique(group, return_inverse=True)[1], rest)
    alone, many = (rest**2).sum() * len(rest) / max(len(rest) - 1, 1), len(sums) / max(len(sums) - 1, 1)
    if len(sums) == 1 or not alone:
        return float(len(rest) / len(sums))  # nobody has seen how they differ
    return max(float((sums**2).sum() * many / alone), 1.0)


def _numbered(panels: Mapping[int, tuple[Panel, Groups]]) -> dict[int, Ints]:
    """Of each panel of a task the number of every item's cluster."""
    labels = {panel.language: set(groups) for panel, groups in panels.values()}
    shared = len(set(chain(*labels.values()))) < sum(map(len, labels.values()))
    named = {i: _names(*one) for i, one in panels.items()}
    if not shared and len(labels) > 1:
        named = _joined(named, panels)
    first: dict[str | int, int] = {}
    for i, (panel, _) in panels.items():
        for name, doc in zip(named[i], panel.docs.tolist(), strict=True):
            first[name] = min(doc, first.get(name, doc))
    order = sorted(first, key=lambda name: (first[name], str(name)))
    number = {name: n for n, name in enumerate(order)}
    return {i: np.array([number[name] for name in names]) for i, names in named.items()}


def _names(panel: Panel, groups: Groups) -> list[str | int]:
    """What each item's group is called: the item's number where it is in none."""
    label = {doc: name for name, docs in groups.items() for doc in docs}
    return [label.get(doc, doc) for doc in panel.docs.tolist()]


def _joined(
    named: Mapping[int, Sequence[str | int]], panels: Mapping[int, tuple[Panel, Groups]]
) -> dict[int, list[str | int]]:
    """The same, with all groups under one name that have an item's number in common, directly or by others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    at: dict[tuple[str, str | int], int] = {}
    pairs = set()
    for i, names in named.items():
        for name, doc in zip(names, panels[i][0].docs.tolist(), strict=True):
            ends = (at.setdefault((kind, one), len(at)) for kind, one in (("group", name), ("item", doc)))
            pairs.add(tuple(ends))
    rows, columns = np.array(sorted(pairs)).T
    part = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(at), len(at))), False)[1]
    return {i: [int(part[at["group", name]]) for name in names] for i, names in named.items()}
