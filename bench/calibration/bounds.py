"""What the calibration's measures must keep to, and how it is told from chance that one does not.

In two stages. A measure is *flagged* where its mean over studies is beyond its bound by more than two simulation
standard errors (of a rate: at the bound, √(.05 · .95 / n)). Many are looked at, and chance flags some. What is flagged
is therefore drawn afresh, from other seeds and four times as many studies, and these alone decide: it is *out* where
chance, were the truth on the bound, would give as much in fewer than one of twenty runs (Bonferroni over what was
flagged; the exact binomial of a rate, Student's t of others). Worlds alike are looked at together as well, for what
they share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import numpy.typing as npt

from bench.calibration.worlds import World

ERRORS = 2.0
AGAIN = 4  # times as many studies in the second stage
CHANCE = 0.05
Floats = npt.NDArray[np.float64]
Values = dict[str, list[float]]  # of every study, by measure
Run = Callable[[World, int, str | None], Values]  # of a world, so many studies; afresh of one measure, or all of them


@dataclass(frozen=True)
class Bound:
    """What a measure's mean over studies must keep to; None where it is only told."""

    low: float | None = None
    high: float | None = None
    rate: bool = False  # of studies, or of claims in each, that are wrong


COVERAGE, RATE = Bound(0.93, 0.98), Bound(None, 0.05, rate=True)
BOUNDS = {
    "coverage": COVERAGE,
    "harm FDR": RATE,
    "gain FDR": RATE,
    "sure FDR": RATE,
    "group FDR": RATE,
    "gated FDR": RATE,
    "source coverage": COVERAGE,
    "source worse FDR": RATE,
    "source better FDR": RATE,
    "task on task worse FDR": RATE,
    "task on task better FDR": RATE,
    "bound wrong": RATE,
    "first donor wrong": RATE,
    "first recipient wrong": RATE,
    "first adjusted wrong": RATE,
    "donor coverage": COVERAGE,
    "recipient coverage": COVERAGE,
    "adjusted coverage": COVERAGE,
    "source share": Bound(-5.0, 5.0),
    "target share": Bound(-5.0, 5.0),
    "pair share": Bound(-5.0, 5.0),
    "top bias": Bound(-0.5, 0.5),
    "harm expected − true": Bound(-0.2, 0.2),
    "gain coverage": Bound(0.93),
    "gain bias": Bound(-0.5, 0.5),
    "floor − printed": Bound(-0.05, 0.05),
}
LARGE_N = 400
SMALL_N, SMALL_HIGH = 20, 0.995  # where there are so few items, intervals are wider than they need be


def bound_of(world: World, measure: str) -> Bound:
    """The bound in this world: shares and floors have one only where there is no effect.

    With one seed what that seed does is an effect: it is the adapter's. Of few sources intervals may be too wide.
    """
    bound = BOUNDS.get(measure, Bound())
    if measure.endswith("share") or measure == "floor − printed":
        return bound if world.effects == "null" and (world.seeds > 1 or not world.seed_sd) else Bound()
    if measure == "harm expected − true" and not _tells_harm(world):
        return Bound()
    if bound == COVERAGE and world.sources:
        return replace(bound, high=None)
    if measure == "coverage" and min(world.items) <= SMALL_N:
        return replace(bound, high=SMALL_HIGH)
    return bound


def _tells_harm(world: World) -> bool:
    """Whether a chance of harm can be right: not a hair's breadth from it, nor where few items hide that nothing is."""
    return world.effects != "at harm" and (world.effects != "null" or min(world.items) // world.passage >= LARGE_N)


@dataclass(frozen=True)
class Result:
    """One measure over all studies of one world, or of several that are alike."""

    name: str
    worlds: tuple[World, ...]
    measure: str
    values: Floats
    bound: Bound

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def se(self) -> float:
        """Studies that all agree prove no more than their number can."""
        n = len(self.values)
        return max(float(self.values.std(ddof=1)) / n**0.5 if n > 1 else 0.0, 0.5 / n)

    @property
    def excess(self) -> float:
        """How far beyond its bound, in the bound's unit, two errors allowed; below 0 within."""
        if self.bound.rate:
            at = self.bound.high or 0.0
            return self.mean - at - ERRORS * float(np.sqrt(at * (1 - at) / len(self.values)))
        sides = [self.mean - self.bound.high] if self.bound.high is not None else []
        sides += [self.bound.low - self.mean] if self.bound.low is not None else []
        return max(sides, default=-np.inf) - ERRORS * self.se

    def p_value(self) -> float:
        """Chance of as much or more were the truth on the bound."""
        from scipy.stats import binom, t

        n = len(self.values)
        if self.bound.rate:
            return float(binom.sf(ceil(self.values.sum() - 1e-9) - 1, n, self.bound.high))
        return float(t.sf((self.excess + ERRORS * self.se) / self.se, n - 1))


def result(name: str, worlds: Sequence[World], measure: str, values: Sequence[float], bound: Bound) -> Result | None:
    """Studies of which the measure says something; None where there are none."""
    known = np.array(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return Result(name, tuple(worlds), measure, known, bound) if len(known) else None


def together(results: Sequence[Result], alike: Callable[[World], str]) -> list[Result]:
    """Results of all worlds that are alike, where several are; each bound apart."""
    parts: dict[tuple[str, str, Bound], list[Result]] = {}
    for one in results:
        parts.setdefault((alike(one.worlds[0]), one.measure, one.bound), []).append(one)
    return [
        Result(
            f"{name}, {len(many)} worlds",
            tuple(world for one in many for world in one.worlds),
            measure,
            np.concatenate([one.values for one in many]),
            bound,
        )
        for (name, measure, bound), many in parts.items()
        if len(many) > 1
    ]


def flagged(results: Sequence[Result]) -> list[Result]:
    """The first stage, the worst last."""
    return sorted((one for one in results if one.bound != Bound() and one.excess > 0), key=lambda one: one.excess)


def out_of_bounds(flags: Sequence[Result], run: Run) -> list[Result]:
    """The second stage: those of the flagged that are out, as they were drawn afresh, the worst last."""
    found = []
    for one in flags:
        n = ceil(AGAIN * len(one.values) / len(one.worlds))
        values = [value for world in one.worlds for value in run(world, n, one.measure)[one.measure]]
        again = result(one.name, one.worlds, one.measure, values, one.bound)
        if again and again.p_value() <= CHANCE / len(flags):
            found.append(again)
    return sorted(found, key=Result.p_value, reverse=True)
