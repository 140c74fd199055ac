"""Two studies side by side, the published table, and the report's options."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis import report
from analysis.frames import NotComputable
from analysis.reading import published
from analysis.reading.study import Study, load, without_unhealthy
from analysis.tables import compare
from study.errors import ConfigError
from tests.analysis.tables.test_registry import grid
from tests.support.synth import Shape, write_store


def test_shared_rows_by_model_or_by_mean() -> None:
    here, there = grid(1), grid(2, drop=0.5)
    both = compare.shared_rows(here, there)
    assert both.height == there.height
    assert np.allclose(both["difference"], both["here"] - both["there"])
    renamed = there.with_columns(pl.concat_str(pl.lit("x"), "model").alias("model"))
    averaged = compare.shared_rows(here, renamed)
    assert averaged["model"].unique().to_list() == [compare.MEAN]
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
    made = compare.compare_all(study, study)
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


def test_conclusions_that_do_not_hold_are_named() -> None:
    here = grid(1)
    table = compare.compare_conclusions(here, here.with_columns(-pl.col("delta")))
    first = table.row(0, named=True)
    assert first["conclusion"] == "transfer raises scores on average"
    assert (first["here"], first["there"], first["holds"]) == ("yes", "no", False)


@pytest.mark.usefixtures("no_figures")
def test_report_beside_another_and_from_the_published_table(tmp_path: Path, store_path: Path) -> None:
    assert report.main([str(store_path), "--out", str(tmp_path / "a")]) == 0
    csv = tmp_path / "a" / "tables" / "transfer_results.csv"
    assert report.main(["--published", str(csv), "--out", str(tmp_path / "b"), "--compare", str(store_path)]) == 0
    page = (tmp_path / "b" / "index.html").read_text(encoding="utf-8")
    assert "Beside the other study" in page
    assert "Single cells were not tested: it needs item rows" in page
    for name in ("regime_summary", "language_roles", "task_matrix", "pareto", "variance_crossed"):
        ours = pl.read_parquet(tmp_path / "a" / "tables" / f"{name}.parquet")
        assert ours.equals(pl.read_parquet(tmp_path / "b" / "tables" / f"{name}.parquet")), name


@pytest.mark.usefixtures("no_figures")
def test_report_without_unhealthy_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = Shape(items=40, tasks=("t", "u"), options=3)
    write_store(tmp_path / "s", shape)
    study = load(str(tmp_path / "s"))
    healthy = without_unhealthy(study)
    dropped = study.transfer.height - healthy.transfer.height
    assert dropped > 0  # on 40 items with three options some base is not above chance
    assert any(n == dropped and "unhealthy" in why for n, why in healthy.excluded)
    assert report.main([str(tmp_path / "s"), "--exclude-unhealthy", "--curated", "t, v"]) == 0
    page = (tmp_path / "s" / "report" / "index.html").read_text(encoding="utf-8")
    assert "unhealthy targets" in page
    with pytest.raises(ConfigError, match="exclude-unhealthy"):
        without_unhealthy(Study("x", "x", study.transfer))


@pytest.mark.parametrize("arguments", [[], ["a", "--published", "b.csv"], ["--published", "nowhere.csv"]])
def test_bad_options_are_clear(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(arguments) == 2
    assert "fix:" in capsys.readouterr().err


def test_published_table_with_a_missing_column(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("model_name,regime\nm,MT-ML\n")
    with pytest.raises(ConfigError, match="has no column"):
        published.read_reference(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Llama-3.2-1B-Instruct", "Llama-3"),
        ("meta-llama/Meta-Llama-3.1-8B", "Llama-3"),
        ("Qwen2.5-0.5B-Instruct", "Qwen2.5"),
        ("gemma-3-1b-it", "gemma-3"),
        ("SmolLM2-135M-Instruct", "SmolLM2"),
        ("own", "own"),
    ],
)
def test_family_is_read_off_the_name(name: str, family: str) -> None:
    assert published.family(name) == family


def test_known_figures_are_checked_on_a_table_of_the_published_size() -> None:
    assert published.known_values(grid()) == []
    frame = pl.concat([grid()] * 41)[: published.PUBLISHED_ROWS]
    assert frame.height == published.PUBLISHED_ROWS
    assert "not its figures" in published.known_values(frame)[0]


@pytest.mark.skipif("PUBLISHED_CSV" not in os.environ, reason="set PUBLISHED_CSV to the study's transfer_results.csv")
def test_published_table_gives_the_published_figures() -> None:
    notes = published.known_values(published.read_reference(os.environ["PUBLISHED_CSV"]))
    assert notes == ["All 21 known figures of the published grid are reproduced."]
