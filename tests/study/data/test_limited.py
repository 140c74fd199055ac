"""Which items a limit takes."""

from __future__ import annotations

from collections import Counter

from study.data.limited import queue, taken

NAMES = [f"q{i}" for i in range(100)]
SORTED_BY_ANSWER = ["yes"] * 60 + ["no"] * 40  # as files are that were made class by class


def test_answers_are_as_common_as_in_the_whole() -> None:
    places = queue(NAMES, SORTED_BY_ANSWER, "task:test")
    for limit in (5, 10, 20, 50):
        counted = Counter(SORTED_BY_ANSWER[i] for i in taken(NAMES, places, limit, "task:test"))
        assert abs(counted["yes"] - 0.6 * limit) <= 1


def test_the_same_items_in_every_language_that_has_them() -> None:
    places = queue(NAMES, SORTED_BY_ANSWER, "task:test")
    here = taken(NAMES, places, 20, "task:test")
    shuffled = NAMES[::-1]
    assert {NAMES[i] for i in here} == {shuffled[i] for i in taken(shuffled, places, 20, "task:test")}
    fewer = NAMES[::2]
    there = {fewer[i] for i in taken(fewer, places, 20, "task:test")}
    assert there >= {NAMES[i] for i in here if i % 2 == 0}
    assert len(there) == 20


def test_order_is_kept_and_more_items_only_add() -> None:
    places = queue(NAMES, SORTED_BY_ANSWER, "task:test")
    ten, twenty = (taken(NAMES, places, limit, "task:test") for limit in (10, 20))
    assert ten == sorted(ten)
    assert set(ten) < set(twenty)
    assert taken(NAMES, places, 500, "task:test") == list(range(100))


def test_another_task_draws_others() -> None:
    one, other = (queue(NAMES, SORTED_BY_ANSWER, salt) for salt in ("a:test", "b:test"))
    assert set(sorted(one, key=one.__getitem__)[:20]) != set(sorted(other, key=other.__getitem__)[:20])
