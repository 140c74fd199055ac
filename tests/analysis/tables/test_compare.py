"""Two studies side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import ALL_MODELS, KEYS, NotComputable
from analysis.reading.study import Study
from analysis.statistics.rates import evidence
from analysis.tables import agreement, common, compare, conclusions
from analysis.tables.registry import make_all
from tests.support.transfers import grid, study_of


def shared(here: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    return compare.shared_rows((study_of(here), study_of(there)))


def test_shared_rows_by_model_or_by_mean() -> None:
    here, there = grid(1), grid(2, drop=0.5)
    both = shared(here, there)
    assert both.height == there.height
    assert np.allclose(both["difference"], both["here"] - both["there"])
    renamed = there.with_columns(pl.concat_str(pl.lit("x"), "model").alias("model"))
    averaged = shared(here, renamed)
    assert averaged["model"].unique().to_list() == [ALL_MODELS]
    with pytest.raises(NotComputable, match="in common"):
        shared(here, there.with_columns(pl.lit("other").alias("target_task")))


def test_matrices_of_two_studies_equal_scipy() -> None:
    here, there = grid(1), grid(2)
    table = compare.compare_matrices((study_of(here), study_of(there)))
    keys = ["source_language", "target_language"]
    sides = [t.to_pandas().query("regime == 'MT-CL'").groupby(keys)["delta"].mean().sort_index() for t in (here, there)]
    row = table.row(by_predicate=pl.col("matrix") == "language", named=True)
    assert row["pearson"] == pytest.approx(stats.pearsonr(*sides).statistic)
    assert row["spearman"] == pytest.approx(stats.spearmanr(*sides).statistic)
    assert row["mean_difference"] == pytest.approx((sides[0] - sides[1]).mean())
    assert row["n_cells"] == 12


def test_a_study_agrees_with_itself(study: Study) -> None:
    made = make_all(compare.TABLES, (study, study))
    for name in ("compare_conclusions", "compare_regimes", "compare_agreement", "compare_roles", "compare_transfer"):
        frame = made[name].frame
        assert frame is not None
        assert frame.columns == list(made[name].table.columns)
        if "difference" in frame.columns:
            assert frame["difference"].abs().max() == 0
    conclusions = made["compare_conclusions"].frame
    assert conclusions is not None
    assert conclusions["holds"].drop_nulls().all()
    matrices = made["compare_matrices"].frame
    assert matrices is not None
    assert matrices["pearson"].drop_nulls().to_list() == pytest.approx([1.0] * matrices["pearson"].count())


def test_only_what_both_have_is_named() -> None:
    """The best donor of one study is not in the other: neither names it."""
    here, there = grid(1), grid(2).filter(pl.col("source_language") != "zh", pl.col("target_language") != "zh")
    here = here.with_columns(pl.when(pl.col("source_language") == "zh").then(90.0).otherwise("delta").alias("delta"))
    table = conclusions.compare_conclusions((study_of(here), study_of(there)))
    assert "zh" not in {*table["here"], *table["there"]}
    assert set(compare.compare_roles((study_of(here), study_of(there)))["name"]) == {"de", "en", "fr", "a", "b", "c"}


def test_a_tie_is_no_answer() -> None:
    level = grid(1).with_columns(pl.lit(1.0).alias("delta"))
    table = conclusions.compare_conclusions((study_of(level), study_of(level)))
    row = table.row(by_predicate=pl.col("conclusion") == "best donor language", named=True)
    assert (row["here"], row["holds"]) == ("not known", None)


def test_conclusions_that_a_tie_decides_are_none() -> None:
    level = grid(1).with_columns(pl.lit(0.0).alias("delta"))
    table = conclusions.compare_conclusions((study_of(level), study_of(level)))
    assert set(table["here"]) == {"not known"}
    assert table["holds"].null_count() == table.height


def test_differences_are_paired() -> None:
    here = grid(1)
    there = here.with_columns(pl.col("delta") + 1 + 0.01 * pl.Series(np.random.default_rng(0).normal(size=here.height)))
    row = compare.compare_regimes((study_of(here), study_of(there))).row(0, named=True)
    assert row["difference"] == pytest.approx(-1, abs=0.01)
    assert row["low"] < row["difference"] < row["high"]
    assert row["high"] - row["low"] < 0.02
    assert row["p"] < 1e-6
    roles = compare.compare_roles((study_of(here), study_of(there)))
    assert (roles["low"] < roles["difference"]).all()
    assert (roles["difference"] < roles["high"]).all()
    assert roles.filter((pl.col("low") > -1) | (pl.col("high") < -1)).height <= 0.3 * roles.height


def test_studies_that_differ_by_noise_alone_are_rarely_told_apart() -> None:
    pairs = [(study_of(grid(seed)), study_of(grid(seed + 100))) for seed in range(40)]
    p = [compare.compare_regimes(pair).row(0, named=True)["p"] for pair in pairs]
    assert sum(one <= 0.05 for one in p) <= 6


def test_harm_rates_stand_beside_what_noise_alone_shows(study: Study) -> None:
    part = replace(study, transfer=study.transfer.filter(pl.col("model") == study.transfer["model"][0]))
    table = compare.compare_regimes((study, part))
    whole = evidence(study.grids)
    assert whole is not None
    keys = part.transfer.filter(pl.col("regime") != "MT-ML").select(KEYS)
    floor, least = whole.of(whole.places.join(keys, on=KEYS, how="semi")["place"].to_list())
    first = table.row(0, named=True)
    assert (first["regime"], first["floor_here"], first["least_here"]) == ("all", pytest.approx(floor), least)
    assert first["floor_there"] == pytest.approx(floor)
    spread = agreement.compare_spread((study, part))
    assert spread["harm_floor"].null_count() == 0
    assert spread.rows_by_key(["group", "study"]).keys() == {
        (group, side) for group in agreement.GROUPS for side in ("here", "there")
    }
    assert compare.compare_regimes((study_of(part.transfer), part))["floor_here"].null_count() == table.height


def test_what_both_have_is_counted() -> None:
    here, there = grid(1), grid(2, models=2).filter(pl.col("source_language") != "zh", pl.col("target_task") != "a")
    table = common.compare_extent((study_of(here), study_of(there)))
    assert table.rows() == [("models", 3, 2, 2), ("sources", 12, 9, 9), ("targets", 12, 8, 8), ("cells", 432, 144, 144)]


def test_two_ways_of_training_agree_as_pandas_says() -> None:
    here, there = grid(1), grid(2)
    table = agreement.compare_agreement((study_of(here), study_of(there)))
    row = table.row(by_predicate=pl.col("group") == "off task", named=True)
    part = [t.filter(pl.col("regime").is_in(["CT-ML", "CT-CL"]))["delta"].to_numpy() for t in (here, there)]
    assert row["pearson"] == pytest.approx(np.corrcoef(*part)[0, 1])
    assert row["same_sign"] == pytest.approx(100 * (np.sign(part[0]) == np.sign(part[1])).mean())
    assert row["median_difference"] == pytest.approx(np.median(part[0] - part[1]))
    spread = agreement.compare_spread((study_of(here), study_of(there)))
    one = spread.filter(pl.col("group") == "off task", pl.col("study") == "there").row(0, named=True)
    assert one["p10"] == pytest.approx(np.quantile(part[1], 0.1))
    assert one["harm_rate"] == pytest.approx(100 * (part[1] <= -1).mean())


def test_agreement_without_the_noise_of_items(study: Study) -> None:
    """A study agrees with itself, model by model and in the mean; where items are others nothing is said."""
    table = agreement.compare_agreement((study, study))
    assert table.columns == list(agreement.AGREEMENT_WORDS)
    assert table.filter(pl.col("group") == "all")["pearson_clean"].item() == pytest.approx(1)
    renamed = study.transfer.with_columns(pl.concat_str(pl.lit("x"), "model").alias("model"))
    apart = replace(study, transfer=renamed, panels=tuple(replace(p, model=f"x{p.model}") for p in study.panels))
    means = agreement.compare_agreement((study, apart))
    assert means.filter(pl.col("group") == "all")["pearson_clean"].item() == pytest.approx(1)
    fewer = [replace(panel, docs=panel.docs[1:], norm=panel.norm[:, 1:]) for panel in study.panels]
    other = agreement.compare_agreement((study, replace(study, panels=tuple(fewer))))
    assert other["pearson_clean"].null_count() == other.height
    published = agreement.compare_agreement((study_of(study.transfer), study))
    assert published["pearson_clean"].null_count() == published.height


def test_cells_without_a_change_agree_on_no_sign() -> None:
    """Where neither way of training changes anything nothing agrees, and what is 0 in one is no disagreement."""
    still = grid(1).with_columns(pl.lit(0.0).alias("delta"))
    row = agreement.compare_agreement((study_of(still), study_of(still))).row(0, named=True)
    assert (row["same_sign"], row["no_sign"]) == (None, 100)
    here, there = grid(1, ties=True), grid(2, ties=True)
    row = agreement.compare_agreement((study_of(here), study_of(there))).row(0, named=True)
    signs = np.sign(here["delta"].to_numpy() * there["delta"].to_numpy())
    assert row["no_sign"] == pytest.approx(100 * (signs == 0).mean())
    assert row["same_sign"] == pytest.approx(100 * (signs > 0).sum() / (signs != 0).sum())


def test_configs_that_differ_are_listed_key_by_key() -> None:
    here, there = grid(1), grid(2)
    ways = (("a", 1e-4, 1), ("b", 5e-5, 8))
    configs = [
        {"store": s, "recipe": {"learning_rate": rate, "epochs": 3}, "training": {"gang_size": size}}
        for s, rate, size in ways
    ]
    pair = tuple(replace(study_of(t), config=c) for t, c in zip((here, there), configs, strict=True))
    table = common.compare_configs((pair[0], pair[1]))
    assert table.rows() == [("recipe.learning_rate", "0.0001", "5e-05")]
    with pytest.raises(NotComputable, match="no config"):
        common.compare_configs((study_of(here), pair[0]))
    with pytest.raises(NotComputable, match="the same"):
        common.compare_configs((pair[0], replace(pair[0], config=configs[0] | {"store": "elsewhere"})))


def test_what_a_list_of_a_config_names_is_told_by_its_name() -> None:
    configs = [{"tasks": [{"name": "quiz", "train": {"limit": n}}, {"name": "sums"}], "seeds": [1, n]} for n in (5, 6)]
    here, there = (replace(study_of(grid(1)), config=config) for config in configs)
    expected = [("seeds", "[1, 5]", "[1, 6]"), ("tasks[quiz].train.limit", "5", "6")]
    assert common.compare_configs((here, there)).rows() == expected


def test_what_one_config_lacks_is_told_once_and_where_it_says_something() -> None:
    """A task that one study lacks is a row, and what newer versions write of what nobody asked for is none."""
    old = {"tasks": [{"name": "quiz"}], "recipe": {"learning_rate": 1e-4}}
    new = {
        "tasks": [{"name": "quiz", "harm": None, "trust_code": False}, {"name": "sums", "harm": None, "few": 5}],
        "recipe": {"learning_rate": 5e-5, "kind": "lora"},
        "compose": [],
    }
    table = common.compare_configs((replace(study_of(grid(1)), config=new), replace(study_of(grid(1)), config=old)))
    assert table.rows() == [
        ("recipe.kind", '"lora"', "not set"),
        ("recipe.learning_rate", "5e-05", "0.0001"),
        ("tasks[sums]", "set", "not set"),
    ]
