"""What the calibration measures of one study: claims of the report against what is true."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.frames import HARM_PP
from analysis.inference import noise, ranks, rates, shrinkage
from analysis.inference.additive import adjusted_weights, raw_weights
from analysis.inference.claims import LEVEL, gated, q_values
from analysis.inference.components import Doubles, components
from analysis.inference.halves import halves, sides
from analysis.inference.items import Floats
from analysis.inference.means import Interval, Means, means, one_sided, over_models, within_model
from bench.calibration.best import of_best
from bench.calibration.corpora import of_corpus
from bench.calibration.seen import Seen, analyse, positions
from bench.calibration.worlds import Mask, Study

Values = dict[str, float]
SPLITS = 10
DRAWS = 500
TOTAL = "variance"
BIG = -8.0  # pp: harm whose power is told


def _false(called: Mask, wrong: Mask) -> float:
    """Share of the calls that are wrong; 0 where nothing is called."""
    return float((called & wrong).sum() / max(called.sum(), 1))


def _mean(values: list[Values]) -> Values:
    return {name: float(np.nanmean([one[name] for one in values])) for name in values[0]}


def of_cells(seen: Seen) -> Values:
    """Coverage, false discoveries and power, averaged over models."""
    return _mean([_of_model(seen, m) for m in range(len(seen.grids))])


def _of_model(seen: Seen, m: int) -> Values:
    one, truth, made = seen.cells[m], seen.truth(m), seen.grids[m]
    there = ~np.isnan(one.centre) & ~np.isnan(truth)
    worse, better, sure = (there & (q_values(p) <= LEVEL) for p in (one.worse, one.better, one.sure))
    group = np.arange(len(truth))[:, None] * (int(made.task.max()) + 1) + made.task
    gates = gated(one.worse.ravel(), group.ravel())
    behind = there & (gates.cell_q <= LEVEL).reshape(truth.shape)
    none_harmed = np.array([(truth[(group == g) & there] >= 0).all() for g in range(len(gates.group_p))])
    told = np.array([((group == g) & there).any() for g in range(len(gates.group_p))])
    big = (truth <= BIG) & there
    return {
        "coverage": float(((one.low <= truth) & (truth <= one.high))[there].mean()),
        "harm FDR": _false(worse, truth >= 0),
        "gain FDR": _false(better, truth <= 0),
        "sure FDR": _false(sure, truth >= HARM_PP),
        "group FDR": _false(told & (gates.group_q <= LEVEL), none_harmed),
        "gated FDR": _false(behind, truth >= 0),
        "power −8": float(worse[big].mean()) if big.any() else float("nan"),
    }


def of_groups(seen: Seen) -> Values:
    """Coverage and false discoveries of sources, and of pairs of tasks, on average."""
    return _mean([_groups_of_model(seen, m) for m in range(len(seen.grids))])


def _groups_of_model(seen: Seen, m: int) -> Values:
    here, one, truth = positions(seen.study.world), seen.grids[m], seen.truth(m)
    (task, language), to, tasks = here.source, here.target, seen.study.world.tasks
    rows = ((task[:, None] != to[0]) | (language[:, None] != to[1])) & ~np.isnan(one.delta)
    of_source = np.broadcast_to(np.arange(len(task))[:, None], rows.shape)
    found = {}
    for name, group in (("source", of_source), ("task on task", task[:, None] * tasks + to[0])):
        weights = raw_weights(rows, group, int(group.max()) + 1)
        weights = weights[weights.any(axis=(1, 2))]
        interval = within_model(means(one, seen.cells[m].seeds, weights))
        true = np.where(weights > 0, weights * truth, 0.0).sum(axis=(1, 2))
        told = ~np.isnan(true)
        for side, p, wrong in zip(("worse", "better"), one_sided(interval), (true >= 0, true <= 0), strict=True):
            found[f"{name} {side} FDR"] = _false(told & (q_values(p) <= LEVEL), wrong)
        if name == "source":
            found["source coverage"] = float(((interval.low <= true) & (true <= interval.high))[told].mean())
    return found


def of_rates(seen: Seen) -> Values:
    """Printed and true harm rate, the floor, and whether the lower bound is above the truth."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((seen.grids[0].n_clusters, rates.DRAWS), np.float32)
    there = [~np.isnan(one.delta) for one in seen.grids]
    scores = [
        rates.null_scores(one, c.seeds, noise, rng)[t] for one, c, t in zip(seen.grids, seen.cells, there, strict=True)
    ]
    sure = np.concatenate([c.sure[t] for c, t in zip(seen.cells, there, strict=True)])
    delta = np.concatenate([one.delta[t] for one, t in zip(seen.grids, there, strict=True)])
    true = np.concatenate([seen.truth(m)[t] for m, t in enumerate(there)])
    floors = [
        rates.noise_floor(one, c.seeds, HARM_PP)[t] for one, c, t in zip(seen.grids, seen.cells, there, strict=True)
    ]
    bound = rates.lower_bound(sure, rates.bounding(np.concatenate(scores)))
    printed, harmed = float((delta.round(9) <= HARM_PP).mean()), float((true <= HARM_PP).mean())
    floor = float(np.concatenate(floors).mean())
    return {
        "printed": printed,
        "floor": floor,
        "true": harmed,
        "bound": bound,
        "bound wrong": float(bound > harmed + 1e-9),
        "floor − printed": floor - printed,
    }


def of_roles(seen: Seen) -> Values:
    """Coverage of donors and recipients among languages: raw, and donors adjusted for who received."""
    task, language = positions(seen.study.world).source
    n = len(task)
    rows = (task[:, None] == task) & (language[:, None] != language)
    source, target = (np.broadcast_to(x, (n, n)) for x in (language[:, None], language))
    cell = np.broadcast_to(np.arange(n), (n, n))

    def weights(kept: Mask) -> dict[str, Floats]:
        names = seen.study.world.languages
        return {
            "donor coverage": raw_weights(kept, source, names),
            "recipient coverage": raw_weights(kept, target, names),
            "adjusted coverage": adjusted_weights(kept, source, cell, names),
        }

    found = {}
    of_models = [weights(rows & ~np.isnan(one.delta)) for one in seen.grids]
    for name, wanted in weights(rows).items():
        several = [means(one, c.seeds, w[name]) for one, c, w in zip(seen.grids, seen.cells, of_models, strict=True)]
        if len(several) == 1:
            interval, truth = within_model(several[0]), (of_models[0][name] * seen.truth(0)).sum(axis=(1, 2))
        else:
            interval, truth = over_models(several), (wanted * seen.study.common).sum(axis=(1, 2))
        found[name] = _covered(interval, truth)
        drawn = _drawn(seen, several, of_models[0][name])
        found[f"first {name.split()[0]} wrong"] = _wrongly_first(drawn, interval.value, truth)
    return found


def _drawn(seen: Seen, several: list[Means], weights: Floats) -> Floats:
    rng = np.random.default_rng(0)
    if len(several) > 1:
        return ranks.draws_over(several, DRAWS, rng)
    return ranks.draws_within(several[0], weights, (seen.grids[0], seen.cells[0].seeds), DRAWS, rng)


def _wrongly_first(drawn: Floats, value: Floats, truth: Floats) -> float:
    """Whether a first and a last are named that are not so in truth."""
    if not ranks.chance_of_range(drawn, value) <= LEVEL:
        return 0.0
    return float(truth[np.nanargmax(value)] <= truth[np.nanargmin(value)])


def _covered(one: Interval, truth: Floats) -> float:
    known = ~np.isnan(one.value)
    return float(((one.low <= truth) & (truth <= one.high))[known].mean()) if known.any() else float("nan")


def of_variance(seen: Seen) -> Values:
    """Variance of source, target and pair, and the variance of the printed Δ, of the first model: see `in_shares`."""
    study = seen.study
    task = np.repeat(np.arange(study.world.tasks), study.world.clusters)
    source = study.source[0]
    two = halves(study.columns[0], len(source), sides(task, SPLITS))
    shape = (SPLITS, 1, len(study.world.cells), study.world.seeds, len(study.world.cells))
    placed = [np.full(shape, np.nan, np.float32) for _ in two]
    for whole, half in zip(placed, two, strict=True):
        whole[:, 0, source, np.arange(len(source)) - np.searchsorted(source, source)] = half
    found = components(Doubles(placed[0], placed[1], seen.cells[0].seeds.known))
    total = float(np.nanvar(seen.grids[0].delta, ddof=1))
    names = {"source share": {"source"}, "target share": {"target"}, "pair share": {"source", "target"}}
    return {name: found[frozenset(factors)] for name, factors in names.items()} | {TOTAL: total}


def in_shares(found: dict[str, list[float]]) -> dict[str, list[float]]:
    """Of many studies, components as shares (%) of what Δ varies by on average.

    Study by study both move together (a target's luck is in either), which takes the mean of their ratios below 0.
    """
    if TOTAL not in found:
        return found
    whole = float(np.nanmean(found[TOTAL]))
    shares = {name: [100 * one / whole for one in many] for name, many in found.items() if name.endswith("share")}
    return {name: shares.get(name, many) for name, many in found.items() if name != TOTAL}


def of_advice(seen: Seen) -> Values:
    """Expected less true Δ of the source that comes first, over targets, and of the source with the highest Δ; and the
    share of cells that one must expect to be harmed.
    """
    task, language = positions(seen.study.world).source
    regime = 2 * (task[:, None] != task) + (language[:, None] != language)
    noises = [noise.noise(one, c.seeds) for one, c in zip(seen.grids, seen.cells, strict=True)]
    delta, errors = noise.averaged([one.delta for one in seen.grids], noises)
    there = ~np.isnan(delta)
    best = np.full(delta.shape, -np.inf)
    found = shrinkage.expected(shrinkage.measured(delta, regime, errors))
    best[there] = found.mean
    truth = np.mean([seen.truth(m) for m in range(len(seen.grids))], axis=0)
    first, raw = best.argmax(axis=0), np.where(there, delta, -np.inf).argmax(axis=0)
    targets = np.flatnonzero(there.any(axis=0))
    return {
        "top bias": float((best[first, targets] - truth[first, targets]).mean()),
        "raw bias": float((delta[raw, targets] - truth[raw, targets]).mean()),
        "harm expected": float(found.harmed.mean()),
        "harm expected − true": float(found.harmed.mean() - (truth[there] <= HARM_PP).mean()),
    }


def measured(study: Study, only: str | None = None) -> Values:
    """All of a study; cells and means only of one that lacks sources or targets, or has a seed that diverged.

    `only`: no more than it takes to have that one.
    """
    world, found = study.world, Values()
    if world.metric:
        return of_corpus(study)
    seen, few = analyse(study), bool(world.sources or world.targets or world.diverged)
    for measure in MEASURES[: 2 if few else None]:
        found |= measure(seen)
        if only in found:
            break
    return found


MEASURES: tuple[Callable[[Seen], Values], ...] = (
    of_cells,
    of_groups,
    of_rates,
    of_roles,
    of_variance,
    of_advice,
    of_best,
)
