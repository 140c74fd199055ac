"""The calibration: worlds within their bounds, and a world out of bounds is told and ends with 1."""

from __future__ import annotations

import pytest

from bench import calibration
from bench.calibration import Bound, Result
from bench.worlds import World


@pytest.mark.parametrize(
    "world",
    [
        World("null", "null", items=(100,), seeds=3, seed_sd=0.03),
        World("gains", "gains", items=(400,)),
        World("mixed", "mixed", items=(20, 100), seeds=2, seed_sd=0.03, missing=0.1),
        World("models", "additive", models=2, between=0.7),
    ],
    ids=lambda world: world.name,
)
def test_world_keeps_its_bounds(world: World) -> None:
    results = calibration.run(world, 16)
    assert {"coverage", "harm FDR", "bound wrong", "adjusted coverage", "top bias"} <= {r.measure for r in results}
    assert [(r.measure, r.mean, r.se) for r in results if r.excess > 0] == []


@pytest.mark.processes
def test_quick_worlds_keep_their_bounds() -> None:
    assert calibration.main(["--quick"]) == 0


def test_excess_allows_for_two_standard_errors() -> None:
    assert Result("", "", 0.10, 0.02, Bound(None, 0.05)).excess == pytest.approx(0.01)
    assert Result("", "", 0.10, 0.03, Bound(None, 0.05)).excess < 0
    assert Result("", "", 0.90, 0.01, Bound(0.93, 0.98)).excess == pytest.approx(0.01)


def test_chance_in_one_of_many_worlds_is_allowed_for_and_what_they_share_is_not() -> None:
    """Of 40 worlds one is 3 errors beyond; then all of them are one error beyond."""
    bound = Bound(None, 0.05)
    names = [f"null, N = 20, K = {k}, sd 0" for k in range(40)]
    one = [Result(name, "harm FDR", 0.05 + 0.03 * (name == names[7]), 0.01, bound) for name in names]
    assert max(r.excess for r in one) == pytest.approx(0.01)
    assert max(r.excess for r in calibration.looked_at(one)) < 0
    every = [Result(name, "harm FDR", 0.06, 0.01, bound) for name in names]
    (out,) = [r for r in calibration.looked_at(every) if r.excess > 0]
    assert out.world == "null, N = 20, 40 worlds"
    assert out.se == pytest.approx(0.01 / 40**0.5)


def test_wrong_statistics_end_with_1_and_the_worst_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(world: World, studies: int) -> list[Result]:
        rate = 0.4 if world.name == "two" else 0.2
        return [Result(world.name, "harm FDR", rate, 0.01, Bound(None, 0.05))]

    monkeypatch.setattr(calibration, "run_all", lambda worlds, _: [r for w, n in worlds for r in run(w, n)])
    monkeypatch.setattr(calibration, "quick", lambda: [(World("two"), 1), (World("one"), 1)])
    assert calibration.main(["--quick"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("two: harm FDR 0.400")
