"""What a composition gains over the best of others, where all are equal: no luck of the best may be in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.frames import HARM_PP
from analysis.inference.best import best_elsewhere, widened
from analysis.inference.cells import cells
from analysis.inference.claims import LEVEL, q_values
from analysis.inference.items import grid
from bench.calibration.seen import Seen

Values = dict[str, float]
COMPOSED = 3  # so many sources in turn stand for compositions, beside all others


def of_best(seen: Seen) -> Values:
    """Coverage and bias of the gain over the best of the others, and whether any is called; of worlds without effects.

    With one seed that seed's luck is an effect: such worlds are left out, and those that lack something.
    """
    world, study = seen.study.world, seen.study
    if world.effects != "null" or world.missing or world.sources or (world.seeds == 1 and world.seed_sd):
        return {}
    n, k, made, highest = len(world.cells), world.seeds, [], []
    for column in study.columns[0]:
        values = column.difference.reshape(n, k, -1)
        first = np.arange(values.shape[2]) // world.passage % 2 == 0
        others = [np.delete(values, one, axis=0) for one in range(COMPOSED)]
        beside = np.concatenate([values[i] - best_elsewhere(rest, first) for i, rest in enumerate(others)])
        made.append(replace(column, difference=beside, adapter=np.arange(len(beside))))
        highest += [float(values[i].mean() - rest.mean(axis=(1, 2)).max()) for i, rest in enumerate(others)]
    found = widened(grid(made, np.repeat(np.arange(COMPOSED), k), sum(world.clusters)), k)
    told = cells(found, HARM_PP)
    return {
        "gain coverage": float(((told.low <= 0) & (told.high >= 0)).mean()),
        "gain bias": float(found.delta.mean()),
        "raw gain": float(np.mean(highest)),
        "gain wrong": float((q_values(told.better) <= LEVEL).any() or (q_values(told.worse) <= LEVEL).any()),
    }
