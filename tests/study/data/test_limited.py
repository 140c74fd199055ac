"""Which items a limit takes."""

from __future__ import annotations

from collections import Counter

from study.data.limited import behind, queue, taken

NAMES = [f"q{i}" for i in range(100)]
SORTED_BY_ANSWER = ["yes"] * 60 + ["no"] * 40  # as files are that were made class by class


def test_answers_are_as_common_as_in_the_whole() -> None:
    places = queue(NAMES, SORTED_BY_ANSWER, "task:test")
    for limit in (5, 10, 20, 50):
        counted = Counter(SORTED_BY_ANSWER[i] for i in taken(NAMES, places, limit))
        assert abs(counted["yes"] - 0.6 * limit) <= 1


def test_the_same_items_in_every_language_that_has_them() -> None:
    places = queue(NAMES, SORTED_BY_ANSWER, "task:test")
    here = taken(NAMES, places, 20)
    shuffled = NAMES[::-1]
    assert {NAMES[i] for i in here} == {shuffled[i] for i in taken(shuffled, places, 20)}
    fewer = NAMES[::2]
    there = {fewer[i] for i in taken(fewer, places, 20)}
    assert there >= {NAMES[i] for i in here if i % 2 == 0}
    assert len(there) == 20


def test_items_that_the_first_language_lacks_come_behind_in_proportion_too() -> None:
    others = [f"x{i}" for i in range(50)]
    answers = ["a"] * 40 + ["b"] * 10
    places = behind(queue(NAMES, SORTED_BY_ANSWER, "t"), queue(others + NAMES, answers + SORTED_BY_ANSWER, "t"))
    assert {places[name] for name in NAMES} == set(range(100))
    assert Counter(answers[i] for i in taken(others, places, 10)) == {"a": 8, "b": 2}
    assert all((others + NAMES)[i] in NAMES for i in taken(others + NAMES, places, 100))


def test_order_is_kept_and_more_items_only_add() -> None:
    places = queue(NAMES, SORTED_BY_ANSWER, "task:test")
    ten, twenty = (taken(NAMES, places, limit) for limit in (10, 20))
    assert ten == sorted(ten)
    assert set(ten) < set(twenty)
    assert taken(NAMES, places, 500) == list(range(100))


def test_another_task_draws_others() -> None:
    one, other = (queue(NAMES, SORTED_BY_ANSWER, salt) for salt in ("a:test", "b:test"))
    assert set(sorted(one, key=one.__getitem__)[:20]) != set(sorted(other, key=other.__getitem__)[:20])
