"""The time left, on runs that turn out otherwise than planned."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.costs.pace import Paces, UnderWay, left_s, loading_left

SCORES, ADAPTERS, OTHERS = ("score", "m"), ("train", "m"), ("score", "other")


def guesses(pace: Callable[[float], float], units: int = 100, total_s: float = 100.0) -> list[tuple[float, float]]:
    """Of one device that scores: at many moments, the share of the run that is over, and the guess over the truth.

    `pace` says how many seconds an estimated one is, by the share of the work that is done.
    """
    each, paces, now = total_s / units, Paces({SCORES: total_s}), 0.0
    takes = [each * pace(i / units) for i in range(units)]
    found = []
    for i, seconds in enumerate(takes):
        for part in (0.01, 0.5, 0.99):
            at = now + part * seconds
            guess = left_s({SCORES: total_s - i * each}, [UnderWay(*SCORES, each, since_s=part * seconds)], paces, 1)
            found.append((at / sum(takes), guess / (sum(takes) - at)))
        now += seconds
        paces.book(SCORES, each, seconds)
    return found


def test_a_machine_that_is_five_times_slower_than_planned_is_known_after_two_percent() -> None:
    found = guesses(lambda done: 5.0)
    assert found[0][1] == pytest.approx(1 / 5, rel=0.01)  # the plan's word is all there is
    assert all(0.9 < guess < 1.05 for over, guess in found if over > 0.02)
    assert all(0.99 < guess < 1.01 for over, guess in found if over > 0.03)


def test_units_that_differ_wildly_tell_the_pace_within_a_fifth_after_a_tenth() -> None:
    found = guesses(lambda done: 7.5 if int(done * 1000) % 20 else 2.5)
    assert all(0.8 < guess < 1.2 for over, guess in found if 0.1 < over < 0.95)


def test_a_machine_that_gets_busy_half_way_is_known_when_a_quarter_more_of_the_time_has_passed() -> None:
    found = guesses(lambda done: 1.0 if done < 0.5 else 5.0)  # the first half takes a sixth of the time
    assert all(0.75 < guess < 1.05 for over, guess in found if 0.17 + 0.25 < over < 0.99)
    found = guesses(lambda done: 5.0 if done < 0.5 else 1.0)  # and quick again, known when a third of the rest is over
    assert all(0.95 < guess < 1.3 for over, guess in found if 0.95 < over < 0.99)


def test_a_gang_tells_its_pace_long_before_it_ends_and_the_guess_moves_with_each_second() -> None:
    """Nothing is finished, but a tenth of it is done, in five times what that should take."""
    paces, to_do = Paces({ADAPTERS: 100.0}), {ADAPTERS: 100.0}
    assert left_s(to_do, [], paces, 1) == 100
    for since in range(5):
        gang = UnderWay(*ADAPTERS, 100.0, share=0.1, spent_s=50.0, since_s=since)
        assert left_s(to_do, [gang], paces, 1) == pytest.approx(450 - since)
        assert left_s(to_do, [gang.on(2)], paces, 2) == pytest.approx((900 / 2 - since * 2) / 2, rel=0.2)


def test_what_is_not_seen_yet_goes_by_what_is_like_it() -> None:
    paces = Paces({SCORES: 100.0, OTHERS: 100.0, ADAPTERS: 100.0})
    assert set(paces.by_key().values()) == {1.0}
    paces.book(SCORES, 50.0, 100.0)
    assert paces.by_key() == {SCORES: 2.0, OTHERS: 2.0, ADAPTERS: 2.0}  # slow machines are slow at all
    paces.book(ADAPTERS, 50.0, 25.0)
    assert paces.by_key() == {SCORES: 2.0, OTHERS: 2.0, ADAPTERS: 0.5}
    paces.book(OTHERS, 1.0, 10.0)  # one percent of its work counts a half
    assert paces.by_key()[OTHERS] == pytest.approx((10 + 1 * (110 / 51)) / 2)


def test_loading_is_waited_for_and_only_what_works_for_certain_can_be_late() -> None:
    paces, to_do = Paces({ADAPTERS: 10.0, SCORES: 1000.0}), {ADAPTERS: 10.0, SCORES: 1000.0}
    loads = UnderWay(*ADAPTERS, 10.0, loading_s=5.0, works=False)
    assert left_s(to_do, [loads], paces, 1) == 1015
    assert [loading_left(10, seconds) for seconds in (0, 4, 8, 40)] == [10, 6, 2, 10]
    longer = UnderWay(*ADAPTERS, 10.0, since_s=500.0, works=False)  # it may still load
    assert left_s(to_do, [longer], paces, 1) == 1000
    late = UnderWay(*SCORES, 100.0, since_s=500.0)
    assert left_s(to_do, [late], paces, 1) == pytest.approx((10 + 900) * 2.5)  # a half may be what is around it
    for since in (100.0, 150.0, 200.0):
        assert left_s(to_do, [UnderWay(*SCORES, 100.0, since_s=since)], paces, 1) == 910
