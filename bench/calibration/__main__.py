"""Are the report's claims worth what they say? Studies of known truth, through the functions that the report uses.

`python -m bench.calibration` draws studies of every world and prints, world by world, what the statistics say against
what is true: coverage of 95 % intervals, false discoveries among claims, power, printed and true harm rates, variance
shares and the bias of the source that `advise` puts first. It ends with 1 when a world is out of bounds; the worst is
printed last. `--quick` takes a few worlds, and looks at those alike together. `bounds.py` has the bounds and how chance
is told from what is out of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

from threadpoolctl import threadpool_limits

from bench.calibration.bounds import Result, Run, Values, bound_of, flagged, out_of_bounds, result, together
from bench.calibration.measures import in_shares, measured
from bench.calibration.worlds import World, draw

FIRST_SEED, AFRESH = 20251113, 500_000
SIZES, METRICS = (20, 100, 400), ("ratio", "f1")
MOST_FLAGGED = 3  # worlds of the quick part: were more of them on their bounds, so many would hardly be beyond


def run(world: World, studies: int, only: str | None = None) -> Values:
    """Every measure of one world, or one of them, of studies that no other run of it has."""
    warnings.simplefilter("ignore", RuntimeWarning)
    first = FIRST_SEED + 1000 * _number(world) + (AFRESH if only else 0)
    found: Values = {}
    with threadpool_limits(1):  # small matrices: threads only get in each other's way
        for number in range(studies):
            for name, value in measured(draw(world, first + number), only).items():
                found.setdefault(name, []).append(value)
    return in_shares(found)


def results_of(world: World, values: Values) -> list[Result]:
    """Every measure of one world."""
    made = [result(world.name, [world], name, many, bound_of(world, name)) for name, many in values.items()]
    return [one for one in made if one]


def _number(world: World) -> int:
    """The same for the same world, another for another."""
    return sum((i + 1) * ord(c) for i, c in enumerate(world.name))


def quick() -> list[tuple[World, int]]:
    """The worlds of the fast part."""
    made = [(_named(effect, n, k, sd), 20) for effect, n, k, sd in (
        ("null", 20, 1, 0.0), ("null", 100, 1, 0.0), ("null", 100, 3, 0.03), ("null", 400, 3, 0.0),
        ("gains", 100, 1, 0.0), ("gains", 400, 3, 0.0), ("mixed", 20, 3, 0.0), ("mixed", 100, 2, 0.03),
        ("mixed", 400, 3, 0.03), ("mild", 100, 1, 0.0), ("mild", 400, 3, 0.03), ("at harm", 100, 3, 0.0),
    )]  # fmt: skip
    chosen = ("missing", "unequal seeds", "two models", "passages of ten, null")
    made += [(world, 12) for world in special() if world.name in chosen]
    return made + [(world, 40) for world in few() if world.seed_shared and world.targets != 1 and world.seeds == 2]


def few() -> list[World]:
    """Few sources: seeds that are alike on all targets or on none, and by far the largest part of the noise."""
    base = World("", items=(400,), discordance=(0.02, 0.08), seed_sd=0.03)
    return [
        replace(base, name=f"{s} × {t}, K = {k}, shared {shared:g}", sources=s, targets=t, seeds=k, seed_shared=shared)
        for s in (1, 2, 3)
        for k in (2, 3)
        for shared in (0.0, 1.0)
        for t in (1, 4, 12)
    ]


def special() -> list[World]:
    """Worlds beside the grid of effects, items and seeds."""
    mixed = World("", "mixed", items=(400,), seeds=3, seed_sd=0.03)
    several = World("", "additive", items=(100,), seeds=2, seed_sd=0.03, between=0.7)
    return [
        replace(mixed, name="missing", missing=0.2),
        replace(mixed, name="unequal seeds", unequal=1.0),
        replace(mixed, name="unequal seeds, null", effects="null", unequal=1.0),
        replace(mixed, name="seeds alike on all targets", seed_shared=1.0, seeds=2),
        replace(mixed, name="unequal seeds, alike, null", effects="null", unequal=1.5, seed_shared=1.0, seeds=2),
        replace(mixed, name="one diverged seed", diverged=0.4),
        replace(mixed, name="one diverged seed, null", effects="null", diverged=0.4),
        replace(mixed, name="two sources, no seed sd", sources=2, seeds=2, seed_sd=0.0),
        replace(mixed, name="unequal items", items=(20, 100, 400)),
        replace(mixed, name="strong bases", base=(8.0, 1.5)),
        replace(mixed, name="weak bases", base=(1.5, 8.0)),
        replace(mixed, name="base noise of a column", column=0.8, source=0.1),
        replace(mixed, name="four sources", tasks=2, languages=2),
        replace(mixed, name="few changes", discordance=(0.02, 0.08)),
        replace(mixed, name="passages of ten", passage=10),
        replace(mixed, name="passages of ten, null", effects="null", passage=10),
        World("graded, null", graded=0.7),
        World("graded", "mixed", graded=0.7, seeds=3, seed_sd=0.03),
        World("heavy tails", "heavy"),
        World("heavy tails, three seeds", "heavy", items=(400,), seeds=3, seed_sd=0.03),
        *(World(f"{m}, N = {n}", "mixed", items=(n,), seeds=3, seed_sd=0.03, metric=m) for m in METRICS for n in SIZES),
        *(World(f"{m}, null", items=(400,), seeds=2, seed_sd=0.03, metric=m) for m in METRICS),
        replace(several, name="two models", models=2),
        replace(several, name="three models", models=3, missing=0.1),
        replace(several, name="nine models", models=9, seeds=1),
    ]


def full() -> list[tuple[World, int]]:
    """Every world of the contract, and the special ones."""
    made = [
        _named(effect, n, k, sd)
        for effect in ("null", "gains", "mixed", "mild", "at harm")
        for n in SIZES
        for k in (1, 2, 3, 5)
        for sd in (0.0, 0.03)
    ]
    whole = [(replace(world, tasks=4, languages=6), 40) for world in made]
    return whole + [(world, 60) for world in special()] + [(world, 200) for world in few()]


def _named(effect: str, n: int, k: int, sd: float) -> World:
    return World(f"{effect}, N = {n}, K = {k}, sd {100 * sd:g}", effect, items=(n,), seeds=k, seed_sd=sd)


def alike(world: World) -> str:
    """Of the quick part: what worlds are taken together by."""
    what = f"{world.sources} sources, " if world.sources else ""
    return f"{what}{world.effects}, {'one seed' if world.seeds == 1 else 'several seeds'}"


def but_for_seeds(world: World) -> str:
    """Of the whole: worlds that differ in seeds only."""
    return world.name.split(", K = ")[0]


def judged(results: Sequence[Result], quickly: bool, run_again: Run) -> tuple[list[Result], list[Result]]:
    """What is flagged, and what of it is out of bounds; in haste also where too much is flagged to be chance."""
    pooled = together(results, alike if quickly else but_for_seeds)
    held = {(world, one.measure, one.bound) for one in pooled for world in one.worlds}
    alone = [one for one in results if not quickly or (one.worlds[0], one.measure, one.bound) not in held]
    flags = flagged([*alone, *pooled])
    if quickly and len({one.worlds for one in flags}) > MOST_FLAGGED:
        return flags, flags
    return flags, out_of_bounds(flags, run_again)


def table(results: Sequence[Result], out: Collection[tuple[str, str]] = ()) -> str:
    """Markdown: a row per world, a column per measure; in bold what is flagged."""
    names = list(dict.fromkeys(r.measure for r in results))
    lines = ["| world | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    by_world: dict[str, dict[str, Result]] = {}
    for one in results:
        by_world.setdefault(one.name, {})[one.measure] = one
    for world, row in by_world.items():
        shown = [f"{row[name].mean:.3f}" if name in row else "" for name in names]
        marked = [f"**{text}**" if (world, name) in out else text for name, text in zip(names, shown, strict=True)]
        lines.append(f"| {world} | " + " | ".join(marked) + " |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m bench.calibration", description=__doc__.split("\n")[0] if __doc__ else None
    )
    parser.add_argument("--quick", action="store_true", help="the fast part, under three minutes on two cores")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="worlds whose name holds this")
    return parser


def _run_all(worlds: Sequence[tuple[World, int]], pool: ProcessPoolExecutor) -> list[Result]:
    """Every measure of every world, in the order of worlds."""
    found = pool.map(run, *zip(*worlds, strict=True))
    return [one for (world, _), values in zip(worlds, found, strict=True) for one in results_of(world, values)]


def _run_parts(pool: ProcessPoolExecutor, world: World, studies: int, only: str | None = None) -> Values:
    return pool.submit(run, world, studies, only).result()


def main(argv: list[str] | None = None) -> int:
    """Exit code 1 when a world is out of bounds."""
    options = _parser().parse_args(argv)
    start = time.perf_counter()
    worlds = [(world, n) for world, n in (quick() if options.quick else full()) if options.only in world.name]
    with ProcessPoolExecutor(options.processes) as pool:
        results = _run_all(worlds, pool)
        flags, out = judged(results, options.quick, partial(_run_parts, pool))
    print(table(results, {(one.name, one.measure) for one in flags}))
    print(
        f"\n{len(worlds)} worlds, {time.perf_counter() - start:.0f} s; {len(flags)} flagged, {len(out)} out of bounds."
    )
    for name, some in (("flagged", flags), ("out of bounds", out)):
        for one in some:
            low, high = (("" if value is None else f"{value:g}") for value in (one.bound.low, one.bound.high))
            print(f"{name}: {one.name}: {one.measure} {one.mean:.3f} ± {one.se:.3f}, bound {low}…{high}")
    return 1 if out else 0


if __name__ == "__main__":
    sys.exit(main())
