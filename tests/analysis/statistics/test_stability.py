"""The stability of rankings against the roles and a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.reading.study import Study, load_store
from analysis.statistics import resample, roles, stability
from tests.support.synth import Shape, write_store


def test_rank_stability_estimates_are_the_roles(study: Study) -> None:
    found = stability.rank_stability(study.panels, study.units, draws=200)
    assert found.columns == ["kind", "role", "name", "estimate", "low", "high", "p_top3", "n_models"]
    for kind, table in (("language", roles.language_roles(study.transfer)), ("task", roles.task_roles(study.transfer))):
        for role in ("donor", "recipient"):
            ours = found.filter(pl.col("kind") == kind, pl.col("role") == role)
            both = ours.join(table, left_on="name", right_on=kind)
            assert both.height == table.height
            np.testing.assert_allclose(both["estimate"], both[role], atol=1e-3)
            assert (both["low"] <= both["high"]).all()
            assert ours["p_top3"].sum() == pytest.approx(min(3, ours.height))
    assert found.equals(stability.rank_stability(study.panels, study.units, draws=200))


def test_rank_stability_spread_equals_a_plain_loop(tmp_path: Path) -> None:
    """One model, one seed: the only source of spread is items, drawn alike in the languages of a task."""
    write_store(tmp_path / "s", Shape(items=30, tasks=("t",), seeds=(1,)))
    study = load_store(str(tmp_path / "s"))
    found = stability.rank_stability(study.panels, study.units, draws=3000)
    rng, n = np.random.default_rng(3), 30
    draws: dict[str, list[float]] = {}
    panels = [(p.language, resample.trained_rows(p, study.units)) for p in study.panels]
    for _ in range(3000):
        items = rng.integers(0, n, n)
        sums: dict[str, list[float]] = {}
        for target, rows in panels:
            assert rows is not None
            for index, (_, language) in enumerate(rows.sources):
                if language != target:
                    sums.setdefault(language, []).append(100 * float(rows.difference[index][items].mean()))
        for language, values in sums.items():
            draws.setdefault(language, []).append(float(np.mean(values)))
    for row in found.filter(pl.col("role") == "donor").iter_rows(named=True):
        plain = draws[row["name"]]
        assert [row["low"], row["high"]] == pytest.approx(np.quantile(plain, [0.025, 0.975]).tolist(), abs=1.7)
