"""Δ on all distances at once: against statsmodels, on planted effects, and how often claims are wrong."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

from analysis.frames import NotComputable
from analysis.statistics.languages import places, uriel
from analysis.statistics.languages.distances import Distances
from analysis.statistics.languages.why import ALL, fit, why

LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "id", "tr", "zh")
KNOWN = Distances(
    LANGUAGES,
    {
        "syntax_knn": uriel.distances(list(LANGUAGES), "syntax_knn"),
        "genetic": places.genetic(list(LANGUAGES)),
        "geographic": places.geographic(list(LANGUAGES)),
    },
)
FIRST, SECOND = np.triu_indices(len(LANGUAGES), 1)


def world(rng: np.random.Generator, slope: float) -> pl.DataFrame:
    """Δ of each pair: what a language gives and takes, what a pair has in both directions, and a slope on syntax."""
    n = len(LANGUAGES)
    alike = rng.normal(0, 1, (n, n))
    apart = KNOWN.known["syntax_knn"]
    delta = rng.normal(0, 3, (n, 1)) + rng.normal(0, 3, (1, n)) + alike + alike.T + rng.normal(0, 1, (n, n))
    delta = delta + slope * apart / apart[FIRST, SECOND].std(ddof=1)
    rows = [
        ("m", "t", a, "t", b, "MT-CL", delta[i, j])
        for i, a in enumerate(LANGUAGES)
        for j, b in enumerate(LANGUAGES)
        if i != j
    ]
    columns = ["model", "source_task", "source_language", "target_task", "target_language", "regime", "delta"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def with_more_of_close_languages(rng: np.random.Generator, slope: float) -> pl.DataFrame:
    """A world, and another task that only languages closer than the median have: it moves ten points more."""
    middle = float(np.median(KNOWN.known["syntax_knn"][FIRST, SECOND]))
    more = world(rng, slope)
    ends = more.select("source_language", "target_language").iter_rows()
    more = more.filter(pl.Series([KNOWN.between("syntax_knn", a, b) < middle for a, b in ends]))
    named = more.with_columns(pl.col("delta") + 10, source_task=pl.lit("u"), target_task=pl.lit("u"))
    return pl.concat([world(rng, slope), named])


def row(table: pl.DataFrame, name: str) -> dict[str, float]:
    return table.row(by_predicate=pl.col("distance") == name, named=True)


def test_it_is_least_squares_with_an_effect_of_each_language() -> None:
    table = why(world(np.random.default_rng(0), -2.0), KNOWN)
    frame = world(np.random.default_rng(0), -2.0)
    value = {(s, t): d for s, t, d in frame.select("source_language", "target_language", "delta").iter_rows()}
    ends = [(LANGUAGES[a], LANGUAGES[b]) for a, b in zip(FIRST, SECOND, strict=True)]
    y = np.array([(value[a, b] + value[b, a]) / 2 for a, b in ends])
    x = np.column_stack([apart[FIRST, SECOND] for apart in KNOWN.known.values()])
    ends = np.eye(len(LANGUAGES))[FIRST] + np.eye(len(LANGUAGES))[SECOND]
    found = sm.OLS(y, np.column_stack([x / x.std(axis=0, ddof=1), ends])).fit()
    for k, name in enumerate(KNOWN.known):
        one = row(table, name)
        assert one["slope"] == pytest.approx(found.params[k])
        assert (one["low"], one["high"]) == pytest.approx(tuple(found.conf_int()[k]))
        assert one["p"] == pytest.approx(found.pvalues[k])
        assert one["n_pairs"] == 36
    assert row(table, ALL)["p"] == pytest.approx(float(found.f_test(np.eye(3, len(found.params))).pvalue))
    alone = sm.OLS(y, np.column_stack([x[:, 0] / x[:, 0].std(ddof=1), ends])).fit()
    assert row(table, "syntax_knn")["alone"] == pytest.approx(alone.params[0])
    assert row(table, "syntax_knn")["alone_p"] == pytest.approx(alone.pvalues[0])


def test_claims_are_wrong_as_often_as_they_say_and_those_over_plain_pairs_far_more_often() -> None:
    rng, draws, truth = np.random.default_rng(1), 250, -1.0
    held, false, joint, plain = 0, 0, 0, 0
    for _ in range(draws):
        table = why(world(rng, truth), KNOWN)
        syntax = row(table, "syntax_knn")
        held += syntax["low"] <= truth <= syntax["high"]
        false += row(table, "genetic")["p"] < 0.05
        nothing = world(rng, 0.0)
        joint += row(why(nothing, KNOWN), ALL)["p"] < 0.05
        apart = {(a, b): KNOWN.between("geographic", a, b) for a in LANGUAGES for b in LANGUAGES}
        x = np.array([apart[pair] for pair in nothing.select("source_language", "target_language").iter_rows()])
        plain += sm.OLS(nothing["delta"].to_numpy(), sm.add_constant(x)).fit().pvalues[1] < 0.05
    assert 0.92 <= held / draws <= 0.98
    assert 0.02 <= false / draws <= 0.08
    assert 0.02 <= joint / draws <= 0.08
    assert plain / draws > 0.15  # pairs that share a language count as if they did not


def test_what_cannot_be_told_says_why() -> None:
    rows = world(np.random.default_rng(2), 0.0)
    same = np.ones((len(LANGUAGES), len(LANGUAGES)))
    twice = KNOWN.known | {"script": same, "again": KNOWN.known["genetic"] * 2}
    table = why(rows, Distances(LANGUAGES, twice, {"token_overlap": "not seen"}))
    assert row(table, "script")["lacking"] == "is the same for all pairs"
    assert row(table, "token_overlap")["lacking"] == "not seen"
    assert row(table, "again")["slope"] is None  # it says what another one says
    assert "other distances say the same" in str(row(table, "again")["lacking"])
    assert row(table, "again")["alone"] == pytest.approx(row(table, "genetic")["alone"])
    few = ("de", "en", "es", "fr")
    kept = rows.filter(pl.col("source_language").is_in(few), pl.col("target_language").is_in(few))
    with pytest.raises(NotComputable, match="of 4 of its languages"):
        why(kept, Distances(few, {"genetic": places.genetic(list(few))}))


def test_a_task_that_only_close_languages_have_is_no_slope() -> None:
    rng, false, plain = np.random.default_rng(4), 0, 0
    for _ in range(60):
        both = with_more_of_close_languages(rng, 0.0)
        false += row(why(both, KNOWN), "syntax_knn")["alone_p"] < 0.05
        alike = both.with_columns(source_task=pl.lit("t"), target_task=pl.lit("t"))
        plain += row(why(alike, KNOWN), "syntax_knn")["alone_p"] < 0.05
    assert false <= 8
    assert plain > 50  # without a level of each task


def test_a_slope_is_found_whatever_tasks_pairs_have() -> None:
    rng = np.random.default_rng(5)
    found = [row(why(with_more_of_close_languages(rng, -2.0), KNOWN), "syntax_knn")["alone"] for _ in range(60)]
    assert np.mean(found) == pytest.approx(-2.0, abs=0.4)


def test_a_distance_that_is_not_known_of_every_pair_takes_no_pair_from_the_others() -> None:
    rows, part = world(np.random.default_rng(6), -2.0), np.full((len(LANGUAGES), len(LANGUAGES)), np.nan)
    part[:3, :3] = np.arange(9).reshape(3, 3) + np.arange(9).reshape(3, 3).T
    np.fill_diagonal(part, 0.0)
    table = why(rows, Distances(LANGUAGES, {**KNOWN.known, "trade": part}))
    whole = why(rows, KNOWN)
    assert row(table, "trade")["lacking"] == "is not known of 33 of the 36 pairs of languages, as of ar and es"
    for name in (*KNOWN.known, ALL):
        assert row(table, name) == row(whole, name)
    assert (table["n_pairs"].unique().to_list(), table["n_languages"].unique().to_list()) == ([36], [9])


def test_languages_without_both_directions_are_told_apart_from_those_without_a_distance() -> None:
    rows = world(np.random.default_rng(7), 0.0)
    table = why(rows.filter(pl.col("source_language") != "hi"), KNOWN)
    assert (table["one_way"].unique().to_list(), table["without"].unique().to_list()) == (["hi"], [""])
    with pytest.raises(NotComputable, match="Δ is known in both directions of 0 of its languages"):
        why(rows.filter(pl.col("source_language") == "en"), KNOWN)


def test_why_there_is_no_slope_is_said() -> None:
    rows = world(np.random.default_rng(8), 0.0)
    script = np.zeros((len(LANGUAGES), len(LANGUAGES)))
    script[0], script[:, 0] = 1.0, 1.0
    script[0, 0] = 0.0  # Arabic alone is written otherwise
    table = why(rows, Distances(LANGUAGES, {**KNOWN.known, "script": script}))
    assert "which languages a pair has" in str(row(table, "script")["lacking"])
    assert row(table, "genetic")["slope"] == row(why(rows, KNOWN), "genetic")["slope"]
    few = ("ar", "de", "en", "es", "fr")
    kept = rows.filter(pl.col("source_language").is_in(few), pl.col("target_language").is_in(few))
    known = {name: apart[: len(few), : len(few)] for name, apart in KNOWN.known.items()}
    said = row(why(kept, Distances(few, known)), "genetic")
    assert (said["slope"], said["alone"] is None) == (None, False)
    assert "too few pairs" in str(said["lacking"])


def test_a_language_of_which_nothing_is_known_is_in_no_pair() -> None:
    rows = world(np.random.default_rng(3), 0.0).with_columns(
        pl.col("source_language", "target_language").replace("zh", "klingon")
    )
    names = [*LANGUAGES[:-1], "klingon"]
    table = why(rows, Distances(tuple(names), {"genetic": places.genetic(names)}))
    assert table["without"].unique().to_list() == ["klingon"]
    assert table["n_pairs"].unique().to_list() == [28]


def test_nothing_is_fitted_where_nothing_is_left_to_tell_errors_by() -> None:
    ends = np.eye(3)[[0, 0, 1]] + np.eye(3)[[1, 2, 2]]
    assert fit(np.array([1.0, 2.0, 3.0]), np.array([[1.0], [2.0], [4.0]]), ends) is None
