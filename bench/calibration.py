"""Are the report's claims worth what they say? Studies of known truth, through the functions that the report uses.

`python -m bench.calibration` draws studies of every world and prints, world by world, what the statistics say against
what is true: coverage of 95 % intervals, false discoveries among claims, power, printed and true harm rates, variance
shares and the bias of the source that `advise` puts first. It ends with 1 when a world is out of bounds; the worst is
printed last. `--quick` takes the worlds and numbers of studies that fit into three minutes on two cores.

Many worlds are looked at, and chance puts some of them beyond any bound. A world alone is therefore out of bounds only
beyond so many simulation standard errors that, were all worlds on the bound, one of them would be out by chance in one
run of twenty (Bonferroni over the worlds that have the measure; two at least). What many worlds share is seen in their
means: worlds alike in effects and items, of any seeds, are taken together, and two standard errors are allowed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri
from threadpoolctl import threadpool_limits

from bench.measures import MEASURES, analyse
from bench.worlds import World, draw

FIRST_SEED = 20251113


@dataclass(frozen=True)
class Bound:
    """What a measure's mean over studies must keep to; None where it is only told."""

    low: float | None = None
    high: float | None = None


COVERAGE, RATE = Bound(0.93, 0.98), Bound(None, 0.05)
BOUNDS = {
    "coverage": COVERAGE,
    "harm FDR": RATE,
    "gain FDR": RATE,
    "sure FDR": RATE,
    "group FDR": RATE,
    "gated FDR": RATE,
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
    "floor − printed": Bound(-0.05, 0.05),
}
CHANCE = 0.05  # that a run in which every world is on its bound puts one of them out of it, measure by measure
SMALL_N, SMALL_HIGH = 20, 0.995  # where there are so few items, intervals are wider than they need be


@dataclass(frozen=True)
class Result:
    """One measure in one world, over studies."""

    world: str
    measure: str
    mean: float
    se: float
    bound: Bound
    allowed: float = 2.0  # simulation standard errors

    @property
    def excess(self) -> float:
        """How far beyond its bound, in the bound's unit, so many standard errors allowed; below 0 within."""
        sides = [self.mean - self.bound.high] if self.bound.high is not None else []
        sides += [self.bound.low - self.mean] if self.bound.low is not None else []
        return max(sides, default=-np.inf) - self.allowed * self.se


def bound_of(world: World, measure: str) -> Bound:
    """The bound in this world: shares and floors have one only where there is no effect.

    With one seed what that seed does is an effect: it is the adapter's.
    """
    if measure.endswith("share") or measure == "floor − printed":
        none = world.effects == "null" and (world.seeds > 1 or not world.seed_sd)
        return BOUNDS[measure] if none and measure in BOUNDS else Bound()
    bound = BOUNDS.get(measure, Bound())
    if measure == "coverage" and min(world.items) <= SMALL_N:
        return replace(bound, high=SMALL_HIGH)
    return bound


def run(world: World, studies: int) -> list[Result]:
    """Every measure of one world."""
    warnings.simplefilter("ignore", RuntimeWarning)
    with threadpool_limits(1):  # small matrices: threads only get in each other's way
        return _run(world, studies)


def _run(world: World, studies: int) -> list[Result]:
    found: dict[str, list[float]] = {}
    for number in range(studies):
        seen = analyse(draw(world, FIRST_SEED + 1000 * _number(world) + number))
        for measure in MEASURES:
            for name, value in measure(seen).items():
                found.setdefault(name, []).append(value)
    results = []
    for name, many in found.items():
        known = np.array(many)[~np.isnan(many)]
        if len(known):
            se = float(known.std() / np.sqrt(len(known) - 1)) if len(known) > 1 else 0.0
            se = max(se, 0.5 / len(known))  # studies that all agree prove no more than their number can
            results.append(Result(world.name, name, float(known.mean()), se, bound_of(world, name)))
    return results


def _number(world: World) -> int:
    """The same for the same world, another for another."""
    return sum((i + 1) * ord(c) for i, c in enumerate(world.name))


def quick() -> list[tuple[World, int]]:
    """The worlds of the fast part."""
    made = [(_named(effect, n, k, sd), 30) for effect, n, k, sd in (
        ("null", 20, 1, 0.0), ("null", 100, 1, 0.0), ("null", 100, 3, 0.03), ("null", 400, 3, 0.0),
        ("gains", 100, 1, 0.0), ("gains", 400, 3, 0.0), ("mixed", 20, 3, 0.0), ("mixed", 100, 2, 0.03),
        ("mixed", 400, 5, 0.03), ("mild", 100, 1, 0.0), ("mild", 400, 3, 0.03), ("at harm", 100, 3, 0.0),
    )]  # fmt: skip
    return made + [(world, 20) for world in special() if world.name in ("missing", "unequal seeds", "two models")]


def special() -> list[World]:
    """Worlds beside the grid of effects, items and seeds."""
    mixed = World("", "mixed", items=(400,), seeds=3, seed_sd=0.03)
    several = World("", "additive", items=(100,), seeds=2, seed_sd=0.03, between=0.7)
    return [
        replace(mixed, name="missing", missing=0.2),
        replace(mixed, name="unequal seeds", unequal=1.0),
        replace(mixed, name="unequal seeds, null", effects="null", unequal=1.0),
        replace(mixed, name="seeds alike on all targets", seed_shared=1.0, seeds=2),
        replace(mixed, name="unequal items", items=(20, 100, 400)),
        replace(mixed, name="strong bases", base=(8.0, 1.5)),
        replace(mixed, name="weak bases", base=(1.5, 8.0)),
        replace(mixed, name="base noise of a column", column=0.8, source=0.1),
        replace(mixed, name="four sources", tasks=2, languages=2),
        replace(mixed, name="few changes", discordance=(0.02, 0.08)),
        World("graded, null", graded=0.7),
        World("graded", "mixed", graded=0.7, seeds=3, seed_sd=0.03),
        World("heavy tails", "heavy"),
        World("heavy tails, three seeds", "heavy", items=(400,), seeds=3, seed_sd=0.03),
        replace(several, name="two models", models=2),
        replace(several, name="three models", models=3, missing=0.1),
        replace(several, name="nine models", models=9, seeds=1),
    ]


def full() -> list[tuple[World, int]]:
    """Every world of the contract, and the special ones."""
    made = [
        _named(effect, n, k, sd)
        for effect in ("null", "gains", "mixed", "mild", "at harm")
        for n in (20, 100, 400)
        for k in (1, 2, 3, 5)
        for sd in (0.0, 0.03)
    ]
    return [(replace(world, tasks=4, languages=6), 40) for world in made] + [(world, 60) for world in special()]


def _named(effect: str, n: int, k: int, sd: float) -> World:
    return World(f"{effect}, N = {n}, K = {k}, sd {100 * sd:g}", effect, items=(n,), seeds=k, seed_sd=sd)


def looked_at(results: Sequence[Result]) -> list[Result]:
    """Every bounded result with what chance is allowed, and the means of worlds that differ in seeds only."""
    bounded = [r for r in results if r.bound != Bound()]
    count = Counter(r.measure for r in bounded)
    alone = [replace(r, allowed=max(2.0, float(ndtri(1 - CHANCE / count[r.measure])))) for r in bounded]
    alike: dict[tuple[str, str], list[Result]] = {}
    for r in bounded:
        alike.setdefault((r.world.split(", K = ")[0], r.measure), []).append(r)
    return alone + [_together(world, many) for (world, _), many in alike.items() if len(many) > 1]


def _together(world: str, many: Sequence[Result]) -> Result:
    se = float(np.sqrt(sum(r.se**2 for r in many)) / len(many))
    mean = float(np.mean([r.mean for r in many]))
    return Result(f"{world}, {len(many)} worlds", many[0].measure, mean, se, many[0].bound)


def table(results: Sequence[Result], out: Collection[tuple[str, str]] = ()) -> str:
    """Markdown: a row per world, a column per measure; in bold what is out of bounds."""
    names = list(dict.fromkeys(r.measure for r in results))
    lines = ["| world | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    by_world: dict[str, dict[str, Result]] = {}
    for result in results:
        by_world.setdefault(result.world, {})[result.measure] = result
    for world, row in by_world.items():
        shown = [f"{row[name].mean:.3f}" if name in row else "" for name in names]
        marked = [f"**{one}**" if (world, name) in out else one for name, one in zip(names, shown, strict=True)]
        lines.append(f"| {world} | " + " | ".join(marked) + " |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="the fast part, under three minutes on two cores")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="worlds whose name holds this")
    return parser


def run_all(worlds: Sequence[tuple[World, int]], processes: int) -> list[Result]:
    """Every measure of every world, in the order of worlds."""
    with ProcessPoolExecutor(processes) as pool:
        return [r for part in pool.map(run, *zip(*worlds, strict=True)) for r in part]


def main(argv: list[str] | None = None) -> int:
    """Exit code 1 when a world is out of bounds."""
    options = _parser().parse_args(argv)
    start = time.perf_counter()
    worlds = [(world, n) for world, n in (quick() if options.quick else full()) if options.only in world.name]
    results = run_all(worlds, options.processes)
    checked = sorted(looked_at(results), key=lambda r: r.excess)
    print(table(results, {(r.world, r.measure) for r in checked if r.excess > 0}))
    out = [r for r in checked if r.excess > 0]
    print(f"\n{len(worlds)} worlds, {time.perf_counter() - start:.0f} s; {len(out)} of {len(checked)} out of bounds.")
    for r in out or checked[-3:]:
        low, high = (("" if value is None else f"{value:g}") for value in (r.bound.low, r.bound.high))
        print(f"{r.world}: {r.measure} {r.mean:.3f} ± {r.se:.3f}, bound {low}…{high} (± {r.allowed:.1f} errors)")
    return 1 if out else 0


if __name__ == "__main__":
    sys.exit(main())
