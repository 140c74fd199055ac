"""Answers about targets and sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.advice import answers
from analysis.advice.expected import expectations
from analysis.reading.study import Study, load_store
from tests.support.synth import Shape, write_store
from tests.support.transfers import grid


def test_measured_means_are_kept_and_what_to_expect_is_drawn_in(study: Study) -> None:
    known = expectations(study.transfer, study.grids, None)
    keys = ["source_task", "source_language", "target_task", "target_language"]
    means = study.transfer.group_by(keys).agg(pl.col("delta").mean()).sort(keys)
    np.testing.assert_allclose(known["delta"], means["delta"])
    assert known["expected"].std() < known["delta"].std()  # type: ignore[operator]
    assert ((known["low"] < known["expected"]) & (known["expected"] < known["high"])).all()
    assert known.equals(expectations(study.transfer, study.grids, None))


def test_the_first_of_many_equal_sources_is_not_flattered(tmp_path: Path) -> None:
    """No source does anything: the raw best of each target is points above 0, what is expected of it is not."""
    raw, fair = [], []
    for seed in range(3):
        write_store(tmp_path / str(seed), Shape(items=60, seeds=(1,), seed=seed, languages=("de", "en", "fr", "es")))
        study = load_store(str(tmp_path / str(seed)))
        null = study.transfer.with_columns(pl.lit(0.0).alias("truth"))
        for target in sorted(set(study.transfer.select("target_task", "target_language").iter_rows())):
            name = "/".join(target)
            table = answers.for_target(expectations(null, study.grids, None), name)
            raw.append(float(table["delta"].max()))  # type: ignore[arg-type]
            fair.append(table["expected"][0])
    assert np.mean(fair) < np.mean(raw)


def test_harm_elsewhere_is_the_chance_of_it(study: Study) -> None:
    known = expectations(study.transfer, study.grids, None)
    table = answers.for_target(known, "names/de")
    assert table["expected"].is_sorted(descending=True)
    assert table.height == 6
    one = table.row(0, named=True)
    others = known.filter(pl.col("source") == one["source"], pl.col("target") != "names/de")
    assert one["harm_elsewhere"] == pytest.approx(100 * others["harm"].mean())
    assert one["harm_shown"] == pytest.approx(100 * others["shown"].mean())
    tail = stats.norm.cdf((-1 - others["expected"].to_numpy()) / others["sd"].to_numpy())
    assert (others["harm"].to_numpy() < tail + 0.05).all()  # many an effect may be none
    strict = answers.for_target(known, "names/de", max_harm=20)
    assert set(strict["source"]) == set(table.filter(pl.col("harm_elsewhere") <= 20)["source"])


def with_bases(study: Study, right: dict[str, float]) -> Study:
    """The base is right on all items of a task (1), or on none (0)."""
    panels = [replace(p, norm=np.vstack([np.full_like(p.norm[:1], right[p.task]), p.norm[1:]])) for p in study.panels]
    return replace(study, panels=tuple(panels))


def test_no_harm_is_expected_where_none_can_be(study: Study) -> None:
    """Where the base is right on no number a chance of harm is of the names alone."""
    low = with_bases(study, {"names": 1.0, "numbers": 0.0})
    names = expectations(low.transfer, low.grids, None).filter(pl.col("target").is_in(["names/en", "names/fr"]))
    others = names.group_by("source").agg(pl.col("harm").mean())
    table = answers.about_target(low, "names/de", None).table.join(others, on="source")
    np.testing.assert_allclose(table["harm_elsewhere"], 100 * table["harm"])
    nowhere = answers.about_target(with_bases(study, {"names": 0.0, "numbers": 0.0}), "names/de", 0).table
    assert nowhere.height == 6
    assert nowhere.select("harm_elsewhere", "harm_shown").null_count().row(0) == (6, 6)


def test_of_harms_that_are_certain_the_share_is_told(study: Study) -> None:
    """Of each model's transfer cells by their own q-values; without items nothing is certain, and nothing not."""
    sure = [np.where(one.there, 0.9, np.nan) for one in study.grids]
    sure[0][0, -1] = 1e-9
    grids = [replace(one, cells=replace(one.cells, sure=p, worse=p)) for one, p in zip(study.grids, sure, strict=True)]
    known = expectations(study.transfer, grids, None)
    (harmed,) = known.filter(pl.col("shown") > 0).to_dicts()
    assert harmed["source"] == "/".join(grids[0].sources[0])
    assert harmed["target"] == "/".join(grids[0].targets[-1])
    assert harmed["shown"] == 1 / len(grids)
    other = next(name for name in known["target"] if name != harmed["target"])
    table = answers.for_target(known, other).filter(pl.col("source") == harmed["source"])
    assert table["harm_shown"].item() == pytest.approx(100 / len(grids) / (known["target"].n_unique() - 1))
    assert expectations(study.transfer, [], None)["shown"].null_count() == known.height


def test_errors_over_seeds_tell_the_noise_only_where_seeds_drew_items_anew(study: Study) -> None:
    """The table of a study whose seeds share items says nothing of what these add."""
    stayed = expectations(study.transfer, (), None)
    assert stayed["sd"].null_count() == stayed.height
    anew = study.transfer.with_columns(pl.lit(0.02).alias("score_norm_base_std"))
    known = expectations(anew, (), None)
    assert known["sd"].null_count() == 0
    assert known["expected"].std() < known["delta"].std()  # type: ignore[operator]


def test_a_published_study_of_no_effect_promises_nothing() -> None:
    """Of eighty targets whose base has luck of its own, few have 0 outside the interval of their best source."""
    wrong = []
    for seed in range(7):
        rng = np.random.default_rng(seed)
        transfer = grid(seed, models=1)
        targets = transfer.select(pl.struct("target_task", "target_language").rank("dense") - 1).to_series().to_numpy()
        luck = rng.normal(0, 1.5, 12)[targets.astype(int)] + rng.normal(0, 1.5, transfer.height)
        columns = {
            "delta": luck,
            "delta_se": np.full(len(luck), 4.5**0.5),
            "score_norm_base_std": np.full(len(luck), 0.02),
        }
        known = expectations(
            transfer.with_columns(pl.Series(name, values) for name, values in columns.items()), (), None
        )
        best = known.group_by("target").agg(pl.all().sort_by("expected").last())
        wrong += (best["low"] > 0).to_list()
    assert np.mean(wrong) <= 0.05


def test_where_no_noise_is_known_it_says_so() -> None:
    transfer = grid().with_columns(pl.lit(None, pl.Float64).alias(c) for c in ("delta_se", "score_norm_base_std"))
    known = expectations(transfer, (), None)
    assert known["expected"].equals(known["delta"].rename("expected"))
    assert known["low"].null_count() == known.height
    made = answers.about_target(Study("x", "x", transfer), "a/de", None)
    assert "flattered by its luck" in made.sentence


def test_two_sources_are_too_few_to_learn_from_but_their_noise_is_known(tmp_path: Path) -> None:
    """Items are known, so it is not their noise that nobody knows."""
    write_store(tmp_path / "s", Shape(items=20, languages=("de", "en"), tasks=("names",)))
    study = load_store(str(tmp_path / "s"))
    said = answers.about_target(study, "names/de", None).sentence
    assert "fewer than 3 sources or targets are too few" in said
    assert "noise is not known" not in said


def test_what_cannot_be_harmed_is_marked_in_advice(study: Study) -> None:
    quarter = [replace(panel, norm=panel.norm.copy()) for panel in study.panels]
    for panel in quarter:
        if (panel.task, panel.language) == ("names", "de"):
            panel.norm[0] = np.arange(len(panel.docs)) % 4 == 0
    luck = replace(study, panels=tuple(quarter))
    assert "a loss is luck" in answers.about_target(luck, "names/de", None).sentence
    assert "a loss is luck" not in answers.about_target(study, "names/en", None).sentence
    table = answers.about_source(luck, "names/en").table
    assert "names/de" in table.filter(~pl.col("can_be_harmed"))["target"].to_list()


def test_of_one_source_nothing_is_left_out_to_choose_distances_by() -> None:
    """Without any other source the error was that of a matrix that has no inverse: arbitrary, or a traceback."""
    several = grid().with_columns(pl.lit(None, pl.Float64).alias(c) for c in ("delta_se", "score_norm_base_std"))
    for languages, said in ((["de"], False), (["de", "en"], True)):
        kept = several.filter(pl.col("source_task") == "a", pl.col("source_language").is_in(languages))
        made = answers.about_target(Study("x", "x", kept), "a/fr", None)
        assert set(made.table["measured"]) == {True, False}
        assert ("left out err by" in made.sentence) is said
        assert ("a new one may err by more" in made.sentence) is said


def test_a_prediction_on_a_target_that_no_source_changed_is_no_surer_than_its_cells(study: Study) -> None:
    still = [replace(panel, norm=panel.norm.copy()) for panel in study.panels]
    for panel in still:
        if (panel.task, panel.language) == ("names", "de"):
            panel.norm[:] = panel.norm[0]
    grids = replace(study, panels=tuple(still)).grids
    names = {"source_task": "names", "source_language": "xx", "target_task": "names", "target_language": "de"}
    schema = dict.fromkeys([*names, "regime"], pl.String) | {"delta": pl.Float64}
    narrow = pl.DataFrame([names | {"regime": "MT-CL", "delta": None}], schema)
    known = expectations(study.transfer, grids, narrow.with_columns(expected=pl.lit(1.0), sd=pl.lit(0.01)))
    items = [one.grid.items[:, one.targets.index(("names", "de"))] for one in grids]
    least = np.sqrt(np.mean(np.sum(items, axis=0)) / len(grids) ** 2)
    assert least > 3  # of 24 items
    assert known.row(by_predicate=~pl.col("measured"), named=True)["sd"] >= least


def test_a_prediction_is_no_surer_than_a_measurement_would_be(study: Study) -> None:
    """The model of the grid found no noise in few cells: a source that nobody trained seemed surer than all others."""
    one = study.transfer.row(0, named=True)
    untried = {"source_task": "names", "source_language": "xx", "target_task": one["target_task"]}
    untried |= {"target_language": one["target_language"], "regime": "MT-CL", "delta": None}
    schema = dict.fromkeys(untried, pl.String) | {"delta": pl.Float64}
    narrow = pl.DataFrame([untried], schema).with_columns(expected=pl.lit(1.0), sd=pl.lit(0.01))
    known = expectations(study.transfer, study.grids, narrow)
    target = f"{one['target_task']}/{one['target_language']}"
    measured = known.filter("measured", pl.col("target") == target)["sd"]
    row = known.row(by_predicate=~pl.col("measured"), named=True)
    assert row["sd"] >= measured.max()
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * row["sd"])
    wide = expectations(study.transfer, study.grids, narrow.with_columns(sd=pl.lit(50.0)))
    assert wide.row(by_predicate=~pl.col("measured"), named=True)["sd"] == 50.0


def test_where_all_is_measured_nothing_is_predicted(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of 44 sources on 44 targets took half a minute, to predict none of them."""
    asked = answers.about_target(study, "names/de", None)
    monkeypatch.setattr(answers.predict, "fit_grid", lambda grid: pytest.fail("the grid was fitted"))
    assert answers.about_target(study, "names/de", None).table.equals(asked.table)
    assert asked.table["measured"].all()
