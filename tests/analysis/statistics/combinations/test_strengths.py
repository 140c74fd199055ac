"""Lambda is chosen on held-out items alone, by each protocol, and never by the target's own where that is zero-shot."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from analysis.reading.study import Study
from analysis.statistics.combinations.compositions import compositions
from analysis.statistics.combinations.curve import lambda_curve
from analysis.statistics.combinations.strengths import choices, chosen
from study.cells import Cell
from study.choosing import Free, places
from tests.support.combined import Mix, World, normal_effects, study_of

GRID = (0.0, 0.5, 1.0)
LANGUAGES = ("de", "en", "fr")
EN = Cell("a", "en")


def mixes(protocol: str) -> list[Mix]:
    """a/en and some of b in German or French; on test items more is always better."""
    return [
        Mix(f"add[{language}]", {EN: 1 - at, Cell("b", language): at}, "sum", at, protocol, language,
            more=lambda _, at=at: 0.2 * at)
        for language in ("de", "fr")
        for at in GRID
    ]  # fmt: skip


def study(protocol: str, gains: dict[tuple[str, float, Cell], float]) -> Study:
    return study_of(World(normal_effects(0.0), mixes(protocol), held_out=gains))


def held_out(best: dict[tuple[str, Cell], float]) -> dict[tuple[str, float, Cell], float]:
    """Gains of every lambda of some names and cells: 0.1 less for each step from the best."""
    return {(name, at, cell): -0.1 * abs(at - most) for (name, cell), most in best.items() for at in GRID}


OWN = {("add[de]", Cell("a", "de")): 0.0, ("add[fr]", Cell("a", "fr")): 0.5}  # what each language would choose itself


@pytest.mark.parametrize(
    ("protocol", "german", "french"),
    [("target", 0.0, 0.5), ("other_languages", 0.5, 0.0)],
)
def test_held_out_items_choose_though_test_items_disagree(protocol: str, german: float, french: float) -> None:
    made = study(protocol, held_out(OWN))
    rows = {
        (row["name"], row["target_language"]): row
        for row in compositions(made).filter(target_task="a").iter_rows(named=True)
    }
    assert rows["add[de]", "de"]["lambda"] == german
    assert rows["add[fr]", "fr"]["lambda"] == french
    assert {row["claim"] for row in rows.values()} == {"few-shot" if protocol == "target" else "zero-shot"}
    curve = lambda_curve(made).filter(target_task="a", target_language="de", name="add[de]")
    assert curve.filter("chosen")["lambda"].to_list() == [german]
    assert curve.filter("hindsight")["lambda"].to_list() == [1.0]
    assert curve["test"].is_sorted()
    assert curve["validation"].to_list() == pytest.approx([-10 * abs(at - german) for at in GRID])  # points


def test_other_languages_never_read_the_targets() -> None:
    """Whatever is on the target's own held-out items, nothing changes there."""
    made = [study("other_languages", held_out(OWN | {("add[de]", Cell("a", "de")): at})) for at in GRID]
    german = [
        choices(one).filter("chosen", target_task="a", target_language="de")["strength"].to_list() for one in made
    ]
    assert german[0] == german[1] == german[2] == [0.5, 0.5]
    french = [
        choices(one).filter("chosen", target_task="a", target_language="fr")["strength"].to_list() for one in made
    ]
    assert french == [[at, at] for at in GRID]


def test_the_parts_own_cells_choose_by_source() -> None:
    cells = {("add[de]", EN): 0.5, ("add[de]", Cell("b", "de")): 0.5, ("add[de]", Cell("a", "de")): 1.0}
    found = choices(study("source", held_out(cells))).filter("chosen")
    assert set(found["strength"]) == {0.5}
    assert set(found["name"]) == {"add[de]"}  # nothing tells of the other
    assert found.height == 6


def test_without_held_out_scores_nothing_is_chosen_and_the_curve_says_so() -> None:
    made = study("target", {})
    assert choices(made).height == 0
    curve = lambda_curve(made)
    assert curve["validation"].null_count() == curve.height == 2 * 3 * 6
    assert not curve["chosen"].any()


def test_a_lambda_that_was_not_tried_everywhere_is_compared_where_all_were() -> None:
    """Of two cells one lacks a lambda: only the other counts, for means of unlike sets compare nothing."""
    gains = held_out({("add[de]", EN): 0.0, ("add[de]", Cell("b", "de")): 1.0})
    del gains["add[de]", 0.5, EN]
    found = choices(study("source", gains)).filter("chosen", name="add[de]")
    assert set(found["strength"]) == {1.0}


def test_ties_go_to_the_one_nearest_to_nothing() -> None:
    assert chosen({-1.0: 0.3, 0.5: 0.3, 1.0: 0.3}) == 0.5
    assert chosen({-0.5: 0.3, 0.5: 0.3}) == -0.5
    assert chosen({}) is None


def test_places_of_what_is_for_no_language() -> None:
    one = Free("mix", "other_languages", None, GRID, (EN,))
    told = {("mix", Cell("a", language)) for language in LANGUAGES} | {("mix", Cell("b", "de"))}
    assert sorted(places(one, EN, [one], told)) == [("mix", Cell("a", "de")), ("mix", Cell("a", "fr"))]
    alone = replace(one, protocol="target")
    assert places(alone, EN, [alone], told) == [("mix", EN)]


def test_of_what_is_for_a_task_and_a_language_the_same_task_tells_alone() -> None:
    names = [(task, language) for task in ("a", "b") for language in ("de", "fr")]
    free = [Free(f"add[{task}/{language}]", "other_languages", language, GRID, (EN,)) for task, language in names]
    assert places(free[1], Cell("a", "fr"), free, set()) == [("add[a/de]", Cell("a", "de"))]
    assert places(free[2], Cell("a", "de"), free, set()) == [("add[b/fr]", Cell("a", "fr"))]


def test_seeds_are_averaged_before_a_lambda_is_chosen() -> None:
    made = study("target", held_out(OWN))
    assert made.compositions is not None
    per_seed = made.compositions.held_out.filter(target_language="de")
    assert per_seed.group_by("adapter_id").len()["len"].to_list() == [1] * per_seed.height
    assert choices(made).filter(pl.col("validation").is_not_null()).select("name", "target_language").n_unique() == 2
