"""The stability of rankings against the roles, and items drawn in a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.reading.study import Study, load_store
from analysis.statistics import roles, stability
from tests.support.synth import Shape, write_store


def test_rank_stability_estimates_are_the_roles(study: Study) -> None:
    found = stability.rank_stability(study.transfer, study.grids, draws=200)
    for kind, make in (("language", roles.language_roles), ("task", roles.task_roles)):
        table = make(study.transfer, study.grids)
        for role in ("donor", "recipient"):
            ours = found.filter(pl.col("kind") == kind, pl.col("role") == role)
            both = ours.join(table, left_on="name", right_on=kind)
            assert both.height == table.height
            np.testing.assert_allclose(both["estimate"], both[role], atol=1e-3)
            assert (both["low"] <= both["high"]).all()
            assert both["p_top3"].null_count() == both.height  # no more than three are ranked
            assert set(ours["over"]) == {"models"}
    assert found.equals(stability.rank_stability(study.transfer, study.grids, draws=200))


def test_spread_of_one_model_and_seed_equals_items_drawn_in_a_loop(tmp_path: Path) -> None:
    """The only source of spread is items, drawn alike in the languages of a task."""
    write_store(tmp_path / "s", Shape(items=60, tasks=("t",), seeds=(1,), languages=("de", "en", "es", "fr")))
    study = load_store(str(tmp_path / "s"))
    found = stability.rank_stability(study.transfer, study.grids, draws=4000)
    assert set(found["over"]) == {"items"}
    donors = found.filter(pl.col("role") == "donor")
    assert donors["p_top3"].sum() == pytest.approx(3, abs=1e-9)
    made, rng = study.grids[0], np.random.default_rng(3)
    draws: dict[str, list[float]] = {}
    for _ in range(3000):
        weight = np.bincount(rng.integers(0, 60, 60), minlength=60)
        moved = np.array([made.grid.influence[t] @ weight for t in range(4)]).T + made.grid.delta
        for s, (_, language) in enumerate(made.sources):
            others = [t for t, (_, target) in enumerate(made.targets) if target != language]
            draws.setdefault(language, []).append(float(moved[s, others].mean()))
    for row in donors.iter_rows(named=True):
        plain = draws[row["name"]]
        assert [row["low"], row["high"]] == pytest.approx(np.quantile(plain, [0.025, 0.975]).tolist(), abs=1.2)
