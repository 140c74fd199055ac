"""Which changes are more than chance? Every cell with its interval and q-values, from items and seeds.

`analysis/inference/cells.py` has the test: items are clusters, seeds are pooled over the model, Student's t. Three
claims have q-values of their own, by Benjamini and Hochberg over the transfer cells of a model (cells of MT-ML, which
are not transfer, are a family beside): *worse* (H0: Δ ≥ 0), *better* (H0: Δ ≤ 0) and *harmed for certain* (H0: Δ ≥ −1
pp). Among the cells with q ≤ 0.05 at most one in twenty is expected to be called so wrongly. With one seed everywhere
they speak of the adapter that was trained, not of the source.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import CELL_WORDS, HARM, KEYS, MODEL_WORDS, Table, need
from analysis.inference.claims import LEVEL, gated, q_values
from analysis.reading.grids import ModelGrid
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.transfer import Joint, with_regime
from analysis.statistics.health import marked

CLAIMS = {"worse": "worse", "better": "better", "harmed": "sure"}  # column to the p-value that it rests on
GATE = ("source_task", "source_language", "target_task")  # groups that are called before their cells
NO_ITEMS = "it needs items that are right or wrong, and there are none"


def significance(grids: Sequence[ModelGrid], panels: Sequence[Panel] = ()) -> pl.DataFrame:
    """One row per cell; `panels` tell which of them cannot be harmed. NotComputable without item rows."""
    need(bool(grids), NO_ITEMS)
    table = with_regime(pl.concat([_model(one) for one in grids]), _joint(grids))
    opened = pl.concat([_opened(one) for one in grids])
    table = table.join(opened, on=KEYS, how="left")
    family = ["model", pl.col("regime") == "MT-ML"]
    q = [_q(f"p_{claim}").over(family).alias(f"q_{claim}") for claim in CLAIMS]
    called = [(pl.col(f"q_{claim}") <= LEVEL).alias(claim) for claim in CLAIMS]
    return marked(table.with_columns(q).with_columns(called), panels).select(*COLUMNS).sort(KEYS)


def _q(column: str) -> pl.Expr:
    return pl.col(column).map_batches(lambda p: pl.Series(q_values(p.to_numpy())), return_dtype=pl.Float64)


def _model(one: ModelGrid) -> pl.DataFrame:
    cells, made = one.cells, one.grid

    def of(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return values[one.there]

    return (
        one.frame()
        .with_columns(
            pl.Series("delta", of(made.delta)).round(9),
            *(pl.Series(name, of(getattr(cells, name))) for name in ("low", "high", "se")),
            *(pl.Series(name, of(getattr(made, f"n_{name}"))) for name in ("gains", "losses", "items", "seeds")),
            *(pl.Series(f"p_{claim}", of(getattr(cells, p))) for claim, p in CLAIMS.items()),
            pl.lit(one.about).alias("about"),
        )
        .rename({"items": "n_items", "seeds": "n_seeds"})
    )


def _joint(grids: Sequence[ModelGrid]) -> Joint:
    return {name: cells for one in grids for name, cells in one.joint.items()}


def transfer_cells(one: ModelGrid) -> pl.DataFrame:
    """`ModelGrid.frame` without the sources' own cells."""
    return with_regime(one.frame(), one.joint).filter(pl.col("regime") != "MT-ML").drop("regime")


def _opened(one: ModelGrid) -> pl.DataFrame:
    """`model, source…, target…` and the levels at which a cell's group, and then the cell, is called."""
    rows = transfer_cells(one)
    at = (rows["row"].to_numpy(), rows["column"].to_numpy())
    group = rows.select(pl.struct(GATE).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    q = {side: gated(getattr(one.cells, side)[at], group).cell_q for side in ("worse", "better")}
    return rows.drop("row", "column").with_columns(pl.Series(f"q_{side}_gated", values) for side, values in q.items())


def claimed(table: pl.DataFrame) -> dict[str, int]:
    """How many transfer cells are called worse, better and harmed for certain; worse where nothing can be harmed.

    None of the latter is counted as harmed.
    """
    rows = table.filter(pl.col("regime") != "MT-ML")
    lowest = rows["lowest"] if "lowest" in rows.columns else pl.repeat(False, rows.height, eager=True)
    found = {claim: int(rows[claim].sum()) for claim in CLAIMS}
    found |= {"lowest": int((rows["worse"] & lowest).sum()), "harmed": int((rows["harmed"] & ~lowest).sum())}
    return found


COLUMNS = {
    **MODEL_WORDS,
    **CELL_WORDS,
    "delta": "headline Δ, pp",
    "low": "lower end of the 95 % interval of Δ, pp",
    "high": "upper end, pp",
    "se": "standard error of Δ over items and seeds, pp",
    "gains": "items that are better than under the base in the mean over seeds",
    "losses": "items that are worse",
    "p_worse": "one-sided p-value of Δ ≥ 0",
    "q_worse": "its q-value over the transfer cells of the model (MT-ML is a family of its own)",
    "worse": f"q_worse ≤ {LEVEL}",
    "q_worse_gated": "level at which its group in `groups` (source on task), and then it, is called worse; null: MT-ML",
    "p_better": "one-sided p-value of Δ ≤ 0",
    "q_better": "its q-value",
    "q_better_gated": "the same for gains",
    "better": f"q_better ≤ {LEVEL}",
    "p_harmed": "one-sided p-value of Δ ≥ −1 pp",
    "q_harmed": "its q-value",
    "harmed": f"harmed for certain ({HARM}): q_harmed ≤ {LEVEL}",
    "lowest": "whether the base is at chance on the target, or at 0 on all items: it cannot be harmed, a loss is luck",
    "about": "what is claimed: of the source over seeds, or of this adapter where there is one seed",
    "n_items": "items that adapter and base share under some seed",
    "n_seeds": "seeds",
}
TABLES = (
    Table[Study](
        "significance",
        "Which changes are more than chance",
        "all rows, from their items",
        COLUMNS,
        lambda study: significance(study.grids, study.panels),
    ),
)
