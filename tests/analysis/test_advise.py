"""Prediction of untried cells against the additive baseline, what to train next, and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis import advise
from analysis.frames import NotComputable
from analysis.reading.study import Study, load_store
from analysis.reading.transfer import with_regime
from analysis.statistics import predict
from tests.support.synth import Shape, write_store

TASKS, LANGUAGES = ("a", "b", "c"), ("de", "en", "es", "fr", "pt", "zh")
CELLS = [(t, lang) for t in TASKS for lang in LANGUAGES]


def planted(seed: int = 0, noise: float = 1.0) -> pl.DataFrame:
    """A full grid: effects of source and target, gains within a task and more so between Romance languages."""
    rng = np.random.default_rng(seed)
    give, take = ({c: rng.normal(0, 1) for c in CELLS} for _ in range(2))
    romance = {"es", "fr", "pt"}
    rows = []
    for s in CELLS:
        for t in CELLS:
            within = 4.0 * (s[0] == t[0]) + 3.0 * (s[0] == t[0] and {s[1], t[1]} <= romance)
            rows.append(("m", *s, *t, give[s] + take[t] + within + rng.normal(0, noise)))
    columns = ["model", "source_task", "source_language", "target_task", "target_language", "delta"]
    frame = with_regime(pl.DataFrame(rows, schema=columns, orient="row"))
    return frame.with_columns(pl.lit(None, pl.Float64).alias("delta_se"))


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
        additive, _ = errors(whole, seen, predict.ADDITIVE)
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


def test_constant_and_tiny_grids_say_why() -> None:
    with pytest.raises(NotComputable, match="same"):
        predict.fit_grid(predict.grid(planted().with_columns(pl.lit(1.0).alias("delta"))))
    with pytest.raises(NotComputable, match="too few"):
        predict.grid(planted().head(3))


def test_answers_are_means_and_intervals_over_models(study: Study) -> None:
    known = advise.answers(study.transfer, None, None)
    row = known.row(5, named=True)
    task, language = row["source"].split("/")
    target_task, target_language = row["target"].split("/")
    rows = study.transfer.filter(
        pl.col("source_task") == task,
        pl.col("source_language") == language,
        pl.col("target_task") == target_task,
        pl.col("target_language") == target_language,
    )
    delta, se = rows["delta"].to_numpy(), rows["delta_se"].to_numpy()
    half = 1.96 * np.sqrt((delta.var(ddof=1) + (se**2).mean()) / len(delta))
    assert (row["expected"], row["low"], row["high"]) == pytest.approx(
        (delta.mean(), delta.mean() - half, delta.mean() + half)
    )


def test_target_advice_ranks_and_limits_harm(study: Study) -> None:
    known = advise.answers(study.transfer, None, None)
    table = advise.for_target(known, "names/de")
    assert table["expected"].is_sorted(descending=True)
    assert table.height == 6
    one = table.row(0, named=True)
    others = known.filter(pl.col("source") == one["source"], pl.col("target") != "names/de")["expected"]
    assert one["harm_elsewhere"] == pytest.approx(100 * (others <= -1).mean())
    strict = advise.for_target(known, "names/de", max_harm=20)
    assert set(strict["source"]) == set(table.filter(pl.col("harm_elsewhere") <= 20)["source"])


def test_command_line(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for question in (
        ["--target", "names/de"],
        ["--source", "names/de", "--model", "small-3B"],
        ["--target", "names/de", "--max-harm", "0"],
    ):
        assert advise.main([str(store_path), *question]) == 0
        assert "names/de" in capsys.readouterr().out
    for wrong in (
        ["--target", "names"],
        ["--target", "x/y"],
        ["--source", "x/y"],
        ["--target", "names/de", "--model", "no"],
    ):
        assert advise.main([str(store_path), *wrong]) == 2
        assert "fix:" in capsys.readouterr().err
    assert advise.main([str(store_path), "--budget", "2"]) == 2


def test_untried_sources_are_predicted_and_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = Shape(tasks=("t", "u"), languages=("de", "en", "es", "fr"), seeds=(1,), items=30)
    write_store(tmp_path / "s", shape, drop=range(8, 16))
    study = load_store(str(tmp_path / "s"))
    model = predict.fit_grid(predict.grid(study.transfer, [("t", "en")]))
    known = advise.answers(study.transfer, None, model.predict())
    guessed = known.filter(~pl.col("measured"))
    assert set(guessed["source"]) == {"t/en"}
    assert guessed["low"].null_count() == 0
    assert advise.main([str(tmp_path / "s"), "--budget", "1"]) == 0
    assert "t | en" in " ".join(capsys.readouterr().out.split())[:2000].replace("|", " | ").replace("  ", " ")
