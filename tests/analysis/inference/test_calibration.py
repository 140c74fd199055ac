"""The calibration: worlds within their bounds, and a world out of bounds is told and ends with 1."""

from __future__ import annotations

import numpy as np
import pytest

from bench.calibration import __main__ as calibration
from bench.calibration.bounds import COVERAGE, RATE, Result, Values, flagged, out_of_bounds, together
from bench.calibration.worlds import World


def test_world_keeps_its_bounds() -> None:
    world = World("mixed", "mixed", items=(20, 100), seeds=2, seed_sd=0.03, missing=0.1)
    results = calibration.results_of(world, calibration.run(world, 16))
    assert {"coverage", "harm FDR", "bound wrong", "adjusted coverage", "top bias"} <= {r.measure for r in results}
    assert [(r.measure, r.mean, r.se) for r in flagged(results)] == []


@pytest.mark.processes
def test_quick_worlds_keep_their_bounds() -> None:
    assert calibration.main(["--quick"]) == 0


def rate(name: str, wrong: float, n: int = 100) -> Result:
    """So many of n studies are wrong."""
    values = np.arange(n) < wrong * n
    return Result(name, (World(name, seeds=3),), "harm FDR", values.astype(np.float64), RATE)


def test_a_rate_is_flagged_two_errors_beyond_its_bound() -> None:
    """At the bound the standard error of 100 studies is 2.2 %."""
    assert flagged([rate("one", 0.09)]) == []
    assert [one.name for one in flagged([rate("one", 0.10), rate("two", 0.30), rate("three", 0.20)])] == [
        "one",
        "three",
        "two",
    ]
    low = Result("", (), "coverage", np.full(100, 0.92), COVERAGE)
    assert low.excess == pytest.approx(0.01 - 2 * 0.005)


def test_worlds_alike_are_looked_at_together() -> None:
    (one,) = together([rate("a", 0.08), rate("b", 0.12)], lambda world: "both")
    assert (one.name, one.mean, len(one.values), len(one.worlds)) == ("both, 2 worlds", pytest.approx(0.1), 200, 2)


def verdict(wrong: float, seed: int) -> tuple[int, int]:
    """How much is flagged and out in one quick run in which every claim of harm is wrong so often."""
    rng = np.random.default_rng(seed)

    def run(world: World, studies: int, only: str | None = None) -> Values:
        return {"harm FDR": list((rng.random(studies) < wrong).astype(float))}

    results = [one for world, n in calibration.quick() for one in calibration.results_of(world, run(world, n))]
    flags, out = calibration.judged(results, True, run)
    return len(flags), len(out)


def test_what_is_on_its_bound_passes_and_what_is_wrong_four_times_as_often_fails() -> None:
    on, beyond = ([verdict(wrong, seed) for seed in range(100)] for wrong in (0.05, 0.20))
    assert sum(out > 0 for _, out in on) <= 5
    assert sum(flags > 0 for flags, _ in on) > 0
    assert sum(out > 0 for _, out in beyond) >= 95


def test_one_world_that_is_wrong_is_drawn_afresh_and_told() -> None:
    """What was flagged by chance is not out, whatever the first stage showed."""
    flags = [rate("chance", 0.12), rate("wrong", 0.2)]

    def run(world: World, studies: int, only: str | None = None) -> Values:
        assert (studies, only) == (400, "harm FDR")
        return {"harm FDR": list(rate("", {"chance": 0.05, "wrong": 0.15}[world.name], studies).values)}

    assert [one.name for one in out_of_bounds(flags, run)] == ["wrong"]


def test_wrong_statistics_end_with_1_and_the_worst_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worlds = [World("one", "null"), World("two", "mixed")]
    monkeypatch.setattr(calibration, "full", lambda: [(world, 100) for world in worlds])
    monkeypatch.setattr(calibration, "_run_all", lambda *_: [rate("one", 0.2), rate("two", 0.4)])
    monkeypatch.setattr(calibration, "_run_parts", lambda _, world, n, only: {only: list(rate("", 0.4, n).values)})
    assert calibration.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("out of bounds: two: harm FDR 0.400")
