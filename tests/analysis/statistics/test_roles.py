"""Donors and recipients against plain pandas."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.statistics import pareto, roles
from tests.support.transfers import grid


@pytest.mark.parametrize(("kind", "regime"), [("language", "MT-CL"), ("task", "CT-ML")])
def test_roles(transfer: pl.DataFrame, kind: str, regime: str) -> None:
    frame = transfer.to_pandas()
    rows = frame[frame["regime"] == regime]
    table = (roles.language_roles if kind == "language" else roles.task_roles)(transfer)
    assert table.columns == [kind, "donor", "donor_se", "recipient", "recipient_se", "n_models"]
    for side, end in (("donor", "source"), ("recipient", "target")):
        means = rows.groupby(["model", f"{end}_{kind}"])["delta"].mean().unstack()
        ours = table.to_pandas().set_index(kind).loc[means.columns]
        np.testing.assert_allclose(ours[side], means.mean())
        np.testing.assert_allclose(ours[f"{side}_se"], means.sem())


def test_roles_of_one_model_have_no_standard_error() -> None:
    table = roles.language_roles(grid(models=1))
    assert table["donor_se"].null_count() == table.height


def test_one_language_says_why() -> None:
    only = grid().filter(pl.col("source_language") == "de", pl.col("target_language") == "de")
    with pytest.raises(NotComputable, match="MT-CL"):
        roles.language_roles(only)
    assert roles.task_roles(only).height == 3
    with pytest.raises(NotComputable, match="no source has both"):
        pareto.pareto(only)
