"""What a study can see, read off what it measured."""

from __future__ import annotations

import pytest

from analysis.reading.study import Study
from analysis.statistics import sensitivity
from study.power import items_needed, power


def test_the_plan_is_what_was_measured(study: Study) -> None:
    one = study.grids[0]
    plan = sensitivity.seen_plan(one)
    assert plan is not None
    assert (plan.n_items, plan.n_seeds) == (24, 2)
    assert plan.n_cells == 30
    different = [abs(p.norm[1:] - p.norm[0]).mean() for p in study.panels if p.model == one.model]
    assert plan.discordance == pytest.approx(sum(different) / len(different), rel=0.25)
    assert 0 <= plan.agreement <= 1


def test_rows_are_the_calculations(study: Study) -> None:
    table = sensitivity.sensitivity(study.grids)
    assert table.height == len(study.grids) * len(sensitivity.HARMS)
    row = table.row(3, named=True)
    plan = sensitivity.seen_plan(study.grids[0])
    assert plan is not None
    assert row["power"] == pytest.approx(power(plan, row["harm"]))
    assert row["items_needed"] == items_needed(plan, row["harm"])
    assert (table["power"].is_between(0, 1)).all()
