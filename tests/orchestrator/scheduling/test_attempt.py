"""What a failure does to what is left of a gang: it ends, loses no member, and leaves each its budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduling.attempt import AGAIN, GIVEN_UP, SPLIT, Attempt
from study.config import Failures, Recipe, Training

FAILURES = Failures(node_lost=2, killed_for_memory=1, out_of_memory=3, transient=1)
TRAINING, RECIPE = Training(resources_per_worker={"CPU": 1}), Recipe(batch_size=8)
KINDS = ["node_lost", "killed_for_memory", "out_of_memory", "transient", "bug", "no_space"]


def attempt(*parts: str) -> Attempt:
    result = Attempt("".join(parts), TRAINING)
    result.begin([list(part) for part in parts], 64, TRAINING)
    return result


@given(st.lists(st.sampled_from([*KINDS, None]), max_size=200), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_every_member_ends_once_whatever_fails(kinds: list[str | None], members: int, most: int, able: bool) -> None:
    names = list("abcdefghi"[:members])
    gang = Attempt(names, TRAINING)
    gang.begin([names], most, TRAINING)
    ended: list[str] = []
    for kind in [*kinds, *[None] * members]:
        if gang.is_over:
            break
        at_work = list(gang.at_work)
        assert len(at_work) <= most
        if kind is None or gang.failed(kind, able, FAILURES, RECIPE) == GIVEN_UP:
            ended += at_work
            gang.ended()
    assert gang.is_over
    assert ended == names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [False, True])
def test_what_always_fails_ends(kind: str, known: bool) -> None:
    """Also before it is known what is left, where a gang is given up as a whole."""
    gang = attempt("abcdefgh") if known else Attempt("abcdefgh", TRAINING)
    given_up, tries = "", 0
    while not gang.is_over:
        tries += 1
        assert tries < 100
        at_work = "".join(gang.at_work)
        if gang.failed(kind, is_able=True, failures=FAILURES, recipe=RECIPE) == GIVEN_UP:
            given_up += at_work
            gang.ended()
    assert given_up == "abcdefgh"


def test_a_gang_is_split_until_the_member_at_fault_is_alone() -> None:
    gang, given_up, trained = attempt("abcdefgh"), [], []
    while not gang.is_over:
        at_work = "".join(gang.at_work)
        if "f" not in at_work:
            trained.append(at_work)
        elif gang.failed("bug", is_able=True, failures=FAILURES, recipe=RECIPE) == GIVEN_UP:
            given_up.append(at_work)
        else:
            continue
        gang.ended()
    assert given_up == ["f"]
    assert "".join(sorted("".join(trained))) == "abcdegh"


def test_a_budget_is_of_what_is_at_work_and_a_split_part_has_one_try() -> None:
    gang = attempt("ab", "c")
    fail = lambda: gang.failed("node_lost", is_able=True, failures=FAILURES, recipe=RECIPE)  # noqa: E731
    assert [fail(), fail(), fail()] == [AGAIN, AGAIN, SPLIT]
    assert gang.at_work == ["a"]
    assert fail() == GIVEN_UP
    assert gang.spent == {"node_lost": 3}
    gang.ended()
    assert (gang.at_work, gang.spent) == (["b"], {})
    assert fail() == AGAIN


def test_too_little_memory_lowers_tokens_then_halves_gangs_and_is_counted_where_nothing_is_less() -> None:
    gang = attempt("abcd", "efgh")
    fail = lambda: gang.failed("out_of_memory", is_able=False, failures=FAILURES, recipe=RECIPE)  # noqa: E731
    assert [fail(), fail()] == [AGAIN, AGAIN]
    assert (gang.training.micro_batch_tokens, gang.parts) == (RECIPE.max_length, [list("abcd"), list("efgh")])
    assert [fail(), fail()] == [AGAIN, AGAIN]
    assert gang.parts == [list(name) for name in "abcdefgh"]
    assert gang.spent.get("out_of_memory", 0) == 0
    assert [fail(), fail(), fail(), fail()] == [AGAIN, AGAIN, AGAIN, GIVEN_UP]


def test_a_gang_that_nothing_of_its_model_has_gone_well_for_is_given_up_whole() -> None:
    gang = attempt("abcd")
    assert gang.failed("bug", is_able=False, failures=FAILURES, recipe=RECIPE) == GIVEN_UP
    assert gang.at_work == list("abcd")
