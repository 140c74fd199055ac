"""How sure are the rankings? The scores of donors and recipients drawn again, all together.

Draws follow the rules of the scores' intervals (`analysis/inference/ranks.py`): over models like these where there are
several, else over items and seeds of the one model. Reported: the 2.5th to 97.5th percentile of each score, the chance
that it is among the three highest where more than three are ranked, and how often scores that are all alike spread as
far as these; raw and adjusted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.frames import SEED, NotComputable, Table, need
from analysis.inference.items import Floats
from analysis.inference.ranks import DRAWS, among_top, chance_of_range, draws_over, draws_within
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.roles import REGIME_OF, SIDES, Score, scores
from analysis.statistics.significance import NO_ITEMS


def rank_stability(
    transfer: pl.DataFrame, grids: Sequence[ModelGrid], draws: int = DRAWS, seed: int = SEED
) -> pl.DataFrame:
    """One row per score, best first in kind and role; NotComputable for one model whose items are not known."""
    need(bool(grids) or transfer["model"].n_unique() > 1, NO_ITEMS)
    tables = []
    for number, kind in enumerate(REGIME_OF):
        try:
            found = scores(transfer, grids, kind)
        except NotComputable:
            continue
        for role in SIDES:
            both = [found[name] for name in (role, f"{role}_adjusted")]
            need(len(both[0].models) > 1 or both[0].grid is not None, NO_ITEMS)
            drawn = [_draws(one, draws, np.random.default_rng([seed, number])) for one in both]
            tables.append(_table((kind, role), both, drawn))
    need(bool(tables), "there are no rows of regime MT-CL or CT-ML")
    return pl.concat(tables)


def _draws(one: Score, n: int, rng: np.random.Generator) -> Floats:
    if one.grid is None:
        return draws_over(one.models, n, rng)
    return draws_within(one.models[0], one.weights[0], (one.grid.grid, one.grid.cells.seeds), n, rng)


def _table(of: tuple[str, str], both: Sequence[Score], drawn: Sequence[Floats]) -> pl.DataFrame:
    """Of one kind and role; scores and their draws are raw, then adjusted."""
    raw = both[0]
    low, high = np.quantile(drawn[0], [0.025, 0.975], axis=1)
    top, top_adjusted = (among_top(draws) for draws in drawn)
    far, far_adjusted = (chance_of_range(draws, one.value) for draws, one in zip(drawn, both, strict=True))
    table = pl.DataFrame({"name": raw.names, "estimate": raw.value, "low": low, "high": high}).with_columns(
        pl.lit(of[0]).alias("kind"),
        pl.lit(of[1]).alias("role"),
        pl.Series("p_top3", top),
        pl.Series("p_top3_adjusted", top_adjusted),
        pl.lit(far).alias("p_range"),
        pl.lit(far_adjusted).alias("p_range_adjusted"),
        pl.Series("n_models", raw.n_models),
        pl.lit("items" if raw.grid is not None else "models").alias("over"),
    )
    table = table.select(*COLUMNS)
    return table.with_columns(pl.col(pl.Float64).fill_nan(None)).sort("estimate", "name", descending=[True, False])


COLUMNS = {
    "kind": "language or task",
    "role": "donor or recipient",
    "name": "the language or task",
    "estimate": "its score, pp",
    "low": f"2.5th percentile over {DRAWS:,} draws, pp",
    "high": "97.5th percentile, pp",
    "p_top3": "chance to be among the best three; null where no more than three are ranked",
    "p_top3_adjusted": "the same of the scores adjusted for what each met at the other end",
    "p_range": "how often scores that are all alike spread as far by noise; a first and a last are named where "
    "noise does so in some ranking of the report in one of twenty studies at most",
    "p_range_adjusted": "the same of the adjusted scores",
    "n_models": "models that have it",
    "over": "what is drawn: models, or items and seeds of the one model",
}
TABLES = (
    Table[Study](
        "rank_stability",
        "How sure the rankings are",
        "MT-CL rows (languages) and CT-ML rows (tasks), from their items",
        COLUMNS,
        lambda study: rank_stability(study.singles.transfer, study.singles.grids),
    ),
)
