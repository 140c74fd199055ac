"""Two studies side by side."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import ALL_MODELS, NotComputable
from analysis.reading.study import Study
from analysis.tables import compare
from analysis.tables.registry import make_all
from tests.support.transfers import grid


def test_shared_rows_by_model_or_by_mean() -> None:
    here, there = grid(1), grid(2, drop=0.5)
    both = compare.shared_rows(here, there)
    assert both.height == there.height
    assert np.allclose(both["difference"], both["here"] - both["there"])
    renamed = there.with_columns(pl.concat_str(pl.lit("x"), "model").alias("model"))
    averaged = compare.shared_rows(here, renamed)
    assert averaged["model"].unique().to_list() == [ALL_MODELS]
    with pytest.raises(NotComputable, match="in common"):
        compare.shared_rows(here, there.with_columns(pl.lit("other").alias("target_task")))


def test_matrices_of_two_studies_equal_scipy() -> None:
    here, there = grid(1), grid(2)
    table = compare.compare_matrices(here, there)
    keys = ["source_language", "target_language"]
    sides = [t.to_pandas().query("regime == 'MT-CL'").groupby(keys)["delta"].mean().sort_index() for t in (here, there)]
    row = table.row(by_predicate=pl.col("matrix") == "language", named=True)
    assert row["pearson"] == pytest.approx(stats.pearsonr(*sides).statistic)
    assert row["spearman"] == pytest.approx(stats.spearmanr(*sides).statistic)
    assert row["mean_difference"] == pytest.approx((sides[0] - sides[1]).mean())
    assert row["n_cells"] == 12


def test_a_study_agrees_with_itself(study: Study) -> None:
    made = make_all(compare.TABLES, (study.transfer, study.transfer))
    for name in ("compare_conclusions", "compare_regimes", "compare_roles", "compare_transfer"):
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
