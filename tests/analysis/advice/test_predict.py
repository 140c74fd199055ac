"""Prediction of untried cells against the additive baseline and the dense formula; what to train next."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.advice import predict
from analysis.frames import NotComputable
from analysis.statistics.languages.distances import Distances
from study.cells import Cell, regime
from tests.support.transfers import CELLS, planted


def errors(whole: pl.DataFrame, seen: pl.DataFrame, factors: tuple[str, ...]) -> tuple[float, float]:
    """Root mean squared error on what was hidden, and the share of it inside the 95 % interval."""
    model = predict.fit_grid(predict.grid(seen, CELLS, factors))
    hidden = (
        model.predict()
        .filter(pl.col("delta").is_null())
        .join(whole.select(*predict.PAIR, truth="delta"), on=predict.PAIR)
    )
    assert hidden.height == whole.height - seen.height
    inside = (hidden["truth"] >= hidden["low"]) & (hidden["truth"] <= hidden["high"])
    return float(((hidden["expected"] - hidden["truth"]) ** 2).mean() ** 0.5), float(inside.mean())  # type: ignore


@pytest.mark.parametrize("hide", ["cells", "sources"])
def test_prediction_beats_the_additive_baseline(hide: str) -> None:
    gains = []
    for seed in range(3):
        whole = planted(seed)
        rng = np.random.default_rng(seed)
        if hide == "cells":
            seen = whole.filter(pl.Series(rng.random(whole.height) < 0.6))
        else:
            kept = [CELLS[i] for i in rng.permutation(len(CELLS))[:12]]
            seen = pl.concat(
                [whole.filter(pl.col("source_task") == t, pl.col("source_language") == lang) for t, lang in kept]
            )
        ours, covered = errors(whole, seen, tuple(predict.FACTORS))
        additive, _ = errors(whole, seen, ("source", "target"))
        assert covered > 0.85
        gains.append(additive / ours)
    assert min(gains) > 1.1


def test_prediction_equals_the_dense_formula() -> None:
    seen = planted(1).filter(pl.Series(np.random.default_rng(0).random(len(CELLS) ** 2) < 0.3))
    model = predict.fit_grid(predict.grid(seen, CELLS))
    made, at = model.grid, model.at
    design = np.zeros((made.pairs.height, len(made.factor)))
    design[np.arange(made.pairs.height)[:, None], made.levels] = 1
    prior = design @ np.diag(at.components[made.factor]) @ design.T
    here = made.pairs["delta"].is_not_null().to_numpy()
    among = prior[np.ix_(here, here)] + at.residual * np.eye(here.sum())
    y = made.pairs["delta"].to_numpy()[here]
    expected = at.mean + prior[:, here] @ np.linalg.solve(among, y - at.mean)
    variance = np.diag(prior - prior[:, here] @ np.linalg.solve(among, prior[here])) + at.residual
    ours = model.predict()
    np.testing.assert_allclose(ours["expected"], expected, atol=1e-6)
    np.testing.assert_allclose(ours["sd"] ** 2, variance, rtol=1e-6)


def test_budget_prefers_sources_that_teach_most() -> None:
    """With every source of two tasks trained and none of the third, the third's come first and doubt shrinks."""
    whole = planted(2)
    seen = whole.filter(
        (pl.col("source_task") != "c") & ~((pl.col("source_task") == "a") & (pl.col("source_language") == "de"))
    )
    model = predict.fit_grid(predict.grid(seen, CELLS))
    table = predict.next_sources(model, 3)
    assert table["step"].to_list() == [1, 2, 3]
    assert table["source_task"].to_list()[0] == "c"
    assert (table["sd_after"] <= table["sd_before"] + 1e-9).all()
    refit = predict.grid(seen, CELLS)
    chosen = table.row(0)[1:3]
    rows = [
        i for i, row in enumerate(refit.pairs.select("source_task", "source_language").iter_rows()) if row == chosen
    ]
    measured = np.flatnonzero(refit.pairs["delta"].is_not_null().to_numpy())
    direct = predict._covariance(refit, np.concatenate([measured, rows]), model.at)
    np.testing.assert_allclose(
        predict._condition(model.covariance, refit.levels[rows], model.at.residual), direct, atol=1e-8
    )


def test_a_stage_is_of_the_task_and_cells_that_it_learned_and_tells_nothing_of_others() -> None:
    plain = planted(3).filter(pl.col("target_language") != "zh")
    shown = plain.filter(source_task="b", source_language="fr")
    stage = shown.with_columns(pl.lit("b@after").alias("source_task"), pl.col("delta") * 9)
    joint = {("b@after", "fr"): (Cell("a", "de"), Cell("b", "fr"))}
    made = predict.grid(pl.concat([plain, stage.filter(pl.col("target_task") != "c")]), CELLS, joint=joint)
    mine = made.pairs.filter(source_task="b@after")
    regimes = {row[2:4]: row[4] for row in mine.iter_rows()}
    assert (regimes["a", "de"], regimes["b", "fr"]) == ("MT-ML", "MT-ML")
    assert (regimes["a", "en"], regimes["c", "de"], regimes["c", "en"]) == ("MT-CL", "CT-ML", "CT-CL")
    assert regime("b@after", "fr", "b", "fr") == "MT-ML"
    with_it, without = (predict.fit_grid(one).predict() for one in (made, predict.grid(plain, CELLS)))
    kept = with_it.filter(pl.col("source_task") != "b@after")
    np.testing.assert_allclose(kept["expected"], without["expected"], atol=1e-6)
    assert with_it.filter(pl.col("delta").is_null(), source_task="b@after").height == 5


def test_constant_and_tiny_grids_say_why() -> None:
    with pytest.raises(NotComputable, match="same"):
        predict.fit_grid(predict.grid(planted().with_columns(pl.lit(1.0).alias("delta"))))
    with pytest.raises(NotComputable, match="too few"):
        predict.grid(planted().head(3))


def related(seed: int, slope: float) -> tuple[pl.DataFrame, Distances]:
    """A planted grid in which Δ also falls with a distance that the types of languages do not tell."""
    whole, rng = planted(seed), np.random.default_rng(seed)
    languages = tuple(sorted({language for _, language in CELLS}))
    far = rng.random((len(languages), len(languages)))
    far = np.triu(far, 1) + np.triu(far, 1).T
    at = {name: i for i, name in enumerate(languages)}
    ends = whole.select("source_language", "target_language").iter_rows()
    less = pl.Series([slope * far[at[a], at[b]] for a, b in ends])
    return whole.with_columns(delta=pl.col("delta") - less), Distances(languages, {"trade": far})


@pytest.mark.parametrize(("slope", "most"), [(8.0, 0.7), (0.0, 1.05)])
def test_more_distances_predict_sources_of_a_new_language_better_where_they_matter(slope: float, most: float) -> None:
    """Beside predictions without them; where they say nothing, nothing is lost."""
    whole, apart = related(1, slope)
    seen, errors, left_out = whole.filter(pl.col("source_language") != "de"), [], []
    for more in (apart, None):
        model = predict.fit_grid(predict.grid(seen, CELLS, apart=more))
        rows = model.predict().filter(pl.col("delta").is_null())
        rows = rows.join(whole.select(*predict.PAIR, truth="delta"), on=predict.PAIR)
        assert rows.height == 54
        errors.append(float(((rows["expected"] - rows["truth"]) ** 2).mean() ** 0.5))  # type: ignore[operator]
        left_out.append(predict.left_out_error(model))
    assert errors[0] < most * errors[1]
    assert left_out[0] < left_out[1]


def test_a_users_distance_may_have_any_name() -> None:
    """One that the program uses within for an effect or a column took its place."""
    whole, apart = related(1, 8.0)
    seen, found = whole.filter(pl.col("source_language") != "de"), []
    for name in ("trade", "distance", "source", "delta", "same_task"):
        named = Distances(apart.languages, {name: apart.known["trade"]})
        found.append(predict.fit_grid(predict.grid(seen, CELLS, apart=named)).predict()["expected"])
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-9)


def test_the_error_of_leaving_sources_out_is_that_of_fits_without_them() -> None:
    whole = planted(3)
    model = predict.fit_grid(predict.grid(whole, CELLS))
    made, at = model.grid, model.at
    design = np.zeros((made.pairs.height, len(made.factor)))
    design[np.arange(made.pairs.height)[:, None], made.levels] = 1
    covariance = design @ np.diag(at.components[made.factor]) @ design.T + at.residual * np.eye(len(design))
    y, names, squares = made.pairs["delta"].to_numpy(), made.pairs.select("source_task", "source_language").rows(), []
    for name in sorted(set(names)):
        out = np.array([one == name for one in names])
        among, there = covariance[np.ix_(~out, ~out)], y[~out]
        weights = np.linalg.solve(among, np.ones(len(there)))
        mean = weights @ there / weights.sum()
        expected = mean + covariance[np.ix_(out, ~out)] @ np.linalg.solve(among, there - mean)
        squares += ((y[out] - expected) ** 2).tolist()
    assert predict.left_out_error(model) == pytest.approx(float(np.sqrt(np.mean(squares))), rel=1e-6)
