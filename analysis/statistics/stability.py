"""How sure are the rankings? The scores of donors and recipients drawn again, all together.

Draws follow the rules of the scores' intervals (`analysis/inference/ranks.py`): over models like these where there are
several, else over items and seeds of the one model. Reported: the 2.5th to 97.5th percentile of each score, and the
chance that it is among the three highest, raw and adjusted, where more than three are ranked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.frames import SEED, NotComputable, Table, need
from analysis.inference.items import Floats
from analysis.inference.ranks import DRAWS, among_top, draws_over, draws_within
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.roles import REGIME_OF, SIDES, Score, scores
from analysis.statistics.significance import NO_ITEMS


def rank_stability(
    transfer: pl.DataFrame, grids: Sequence[ModelGrid], draws: int = DRAWS, seed: int = SEED
) -> pl.DataFrame:
    """`kind, role, name, estimate, low, high, p_top3, p_top3_adjusted, n_models, over`, best first in kind and role."""
    need(bool(grids), NO_ITEMS)
    tables = []
    for number, kind in enumerate(REGIME_OF):
        try:
            found = scores(transfer, grids, kind)
        except NotComputable:
            continue
        for role in SIDES:
            raw, fair = (
                _draws(found[name], grids, draws, np.random.default_rng([seed, number]))
                for name in (role, f"{role}_adjusted")
            )
            tables.append(_table(kind, role, found[role], raw, fair))
    need(bool(tables), "there are no rows of regime MT-CL or CT-ML")
    return pl.concat(tables)


def _draws(one: Score, grids: Sequence[ModelGrid], n: int, rng: np.random.Generator) -> Floats:
    if len(one.models) > 1:
        return draws_over(one.models, n, rng)
    of = {made.model: made for made in grids}
    made = next(iter(of.values()))
    return draws_within(one.models[0], one.weights[0], (made.grid, made.cells.seeds), n, rng)


def _table(kind: str, role: str, one: Score, raw: Floats, fair: Floats) -> pl.DataFrame:
    low, high = np.quantile(raw, [0.025, 0.975], axis=1)
    several = len(one.models) > 1
    value = np.nanmean([m.value for m in one.models], axis=0) if several else one.models[0].value
    table = pl.DataFrame(
        {
            "kind": [kind] * len(one.names),
            "role": [role] * len(one.names),
            "name": one.names,
            "estimate": value,
            "low": low,
            "high": high,
            "p_top3": among_top(raw),
            "p_top3_adjusted": among_top(fair),
            "n_models": one.n_models,
            "over": ["models" if several else "items"] * len(one.names),
        }
    )
    return table.with_columns(pl.col(pl.Float64).fill_nan(None)).sort("estimate", "name", descending=[True, False])


TABLES = (
    Table[Study](
        "rank_stability",
        "How sure the rankings are",
        "MT-CL rows (languages) and CT-ML rows (tasks), from their items",
        {
            "kind": "language or task",
            "role": "donor or recipient",
            "name": "the language or task",
            "estimate": "its score, pp",
            "low": f"2.5th percentile over {DRAWS:,} draws, pp",
            "high": "97.5th percentile, pp",
            "p_top3": "chance to be among the best three; null where no more than three are ranked",
            "p_top3_adjusted": "the same of the scores adjusted for what each met at the other end",
            "n_models": "models that have it",
            "over": "what is drawn: models, or items and seeds of the one model",
        },
        lambda study: rank_stability(study.transfer, study.grids),
    ),
)
