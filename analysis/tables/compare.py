"""Two studies side by side: which numbers differ, whether the matrices agree, which conclusions hold in both.

Numbers are compared on the cells both have: per (model, source, target) when they share a model, else per (source,
target) after averaging over models. Conclusions are drawn from each study whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import KEYS, SOURCE, TARGET, NotComputable, harm_rate, need
from analysis.reading.study import Study
from analysis.statistics.linguistic import linguistic
from analysis.statistics.mantel import Array, correlate, ranked
from analysis.statistics.matrices import cell_matrix, language_matrix, task_matrix
from analysis.statistics.regimes import regime_summary
from analysis.statistics.roles import language_roles, task_roles
from analysis.statistics.variance import variance_crossed
from analysis.tables.columns import COLUMNS
from analysis.tables.registry import Made

Transfer = pl.DataFrame
MEAN = "mean over models"


@dataclass(frozen=True)
class Comparison:
    """One table of two transfer tables."""

    name: str
    title: str
    rows: str
    make: Callable[[Transfer, Transfer], pl.DataFrame]

    @property
    def columns(self) -> dict[str, str]:
        """What each column means, in order."""
        return COLUMNS[self.name]


def shared_rows(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`model, source…, target…, regime, here, there, difference` over the cells both have, Δ in pp."""
    sides = [frame.filter(pl.col("delta").is_not_null()).select(*KEYS, "regime", "delta") for frame in (here, there)]
    if not set(sides[0]["model"]) & set(sides[1]["model"]):
        by_cell = [*SOURCE, *TARGET, "regime"]
        sides = [
            frame.group_by(by_cell).agg(pl.col("delta").mean()).with_columns(pl.lit(MEAN).alias("model"))
            for frame in sides
        ]
    renamed = [
        frame.select(*KEYS, "regime", pl.col("delta").alias(name))
        for frame, name in zip(sides, ("here", "there"), strict=True)
    ]
    both = renamed[0].join(renamed[1].drop("regime"), on=KEYS).sort(KEYS)
    need(both.height > 0, "the two studies have no source and target cell in common")
    return both.with_columns((pl.col("here") - pl.col("there")).alias("difference"))


def compare_regimes(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`regime, n, here, there, difference, harm_here, harm_there` over shared cells."""
    both = shared_rows(here, there)

    def harm(side: str) -> pl.Expr:
        return ((pl.col(side) <= -1.0).mean() * 100).alias(f"harm_{side}")

    stats = [pl.len().cast(pl.Int64).alias("n"), *(pl.col(c).mean() for c in ("here", "there", "difference"))]
    tables = [
        part.select(pl.lit(name).alias("regime"), *stats, harm("here"), harm("there"))
        for name, part in (
            ("all", both.filter(pl.col("regime") != "MT-ML")),
            *((r, both.filter(pl.col("regime") == r)) for r in ("MT-ML", "MT-CL", "CT-ML", "CT-CL")),
        )
        if part.height
    ]
    return pl.concat(tables)


def compare_roles(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`kind, role, name, here, there, difference` for languages and tasks that both rank."""
    tables, reasons = [], []
    for kind, make in (("language", language_roles), ("task", task_roles)):
        try:
            both = make(here).join(make(there), on=kind, suffix="_there")
        except NotComputable as why:
            reasons.append(f"{kind}s: {why}")
            continue
        for role in ("donor", "recipient"):
            pair = [pl.col(role).alias("here"), pl.col(f"{role}_there").alias("there")]
            labels = [pl.lit(kind).alias("kind"), pl.lit(role).alias("role"), pl.col(kind).alias("name")]
            tables.append(both.select(*labels, *pair).drop_nulls())
    need(any(table.height for table in tables), "; ".join(reasons) or "they rank no language or task in common")
    table = pl.concat(tables).with_columns((pl.col("here") - pl.col("there")).alias("difference"))
    return table.sort("kind", "role", "here", descending=[False, False, True])


def compare_matrices(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`matrix, n_cells, pearson, spearman, mantel_p, mean_difference` of language, task and cell matrix."""
    rows = []
    for name, make in (("language", language_matrix), ("task", task_matrix), ("cell", cell_matrix)):
        try:
            a, b = _aligned(make(here), make(there))
        except NotComputable:
            continue
        pearson, p, n = correlate(a, b)
        both = np.where(np.isnan(a) | np.isnan(b), np.nan, 1.0)
        spearman = correlate(ranked(a * both), ranked(b * both), permutations=0)[0]
        off = ~np.eye(len(a), dtype=bool) & ~np.isnan(both)
        difference = float((a - b)[off].mean()) if off.any() else float("nan")
        rows.append((name, n, pearson, spearman, p, difference))
    need(any(row[2] == row[2] for row in rows), "no matrix has three cells in common")
    columns = ["matrix", "n_cells", "pearson", "spearman", "mantel_p", "mean_difference"]
    return pl.DataFrame(rows, schema=columns, orient="row").fill_nan(None)


def _aligned(here: pl.DataFrame, there: pl.DataFrame) -> tuple[Array, Array]:
    labels = sorted((set(here["source"]) | set(here["target"])) & (set(there["source"]) | set(there["target"])))
    need(len(labels) >= 3, "fewer than three labels in common")
    at = {label: i for i, label in enumerate(labels)}
    made = []
    for long in (here, there):
        matrix = np.full((len(labels), len(labels)), np.nan)
        for source, target, delta in long.select("source", "target", "delta").iter_rows():
            if source in at and target in at:
                matrix[at[source], at[target]] = delta
        made.append(matrix)
    return made[0], made[1]


def _mean(transfer: Transfer, regime: str) -> float:
    rows = regime_summary(transfer).filter(pl.col("regime") == regime)
    need(rows.height > 0, f"there are no rows of regime {regime}")
    return float(rows["mean"].item())


def _harm(transfer: Transfer, same_task: bool) -> float:
    rows = transfer.filter(pl.col("regime").is_in(["MT-CL"] if same_task else ["CT-ML", "CT-CL"]))
    need(rows.height > 0, "there are no such rows")
    return float(rows.select(harm_rate()).item())


def _top(table: pl.DataFrame, key: str, role: str) -> str:
    ranked_rows = table.drop_nulls(role).sort(role, key, descending=[True, False])
    need(ranked_rows.height > 1, "fewer than two are ranked")
    return str(ranked_rows[key][0])


def _decides(transfer: Transfer) -> bool:
    table = variance_crossed(transfer, draws=0).filter(pl.col("scope") == "overall")
    share = dict(table.select("component", "share").iter_rows())
    need(share.get("target") is not None and share.get("source") is not None, "there is one source or one target")
    return bool(share["target"] > share["source"])


def _closeness(transfer: Transfer) -> bool:
    return bool(linguistic(transfer, permutations=0)["pearson"][0] < 0)


CONCLUSIONS: tuple[tuple[str, Callable[[Transfer], object]], ...] = (
    ("transfer raises scores on average", lambda t: _mean(t, "all") > 0),
    ("the own cell gains more than other languages of the task", lambda t: _mean(t, "MT-ML") > _mean(t, "MT-CL")),
    ("other languages of the task gain more than other tasks", lambda t: _mean(t, "MT-CL") > _mean(t, "CT-ML")),
    ("harm is commoner on other tasks than on other languages", lambda t: _harm(t, False) > _harm(t, True)),
    ("best donor language", lambda t: _top(language_roles(t), "language", "donor")),
    ("language that gains most", lambda t: _top(language_roles(t), "language", "recipient")),
    ("best donor task", lambda t: _top(task_roles(t), "task", "donor")),
    ("task that gains most", lambda t: _top(task_roles(t), "task", "recipient")),
    ("the target decides Δ more than the source", _decides),
    ("syntactically closer languages help each other more", _closeness),
)


def compare_conclusions(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`conclusion, here, there, holds`: yes, no or a name on each side; holds is null where either is not known."""
    rows = []
    for words, draw in CONCLUSIONS:
        sides = [_answer(draw, transfer) for transfer in (here, there)]
        known = None not in sides
        rows.append((words, *(side or "not known" for side in sides), sides[0] == sides[1] if known else None))
    schema = {"conclusion": pl.String, "here": pl.String, "there": pl.String, "holds": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _answer(draw: Callable[[Transfer], object], transfer: Transfer) -> str | None:
    try:
        found = draw(transfer)
    except NotComputable:
        return None
    return {True: "yes", False: "no"}.get(found, str(found)) if isinstance(found, bool) else str(found)


TABLES: tuple[Comparison, ...] = (
    Comparison("compare_conclusions", "Which conclusions hold in both", "each study whole", compare_conclusions),
    Comparison("compare_regimes", "Effect by regime in both", "cells both have", compare_regimes),
    Comparison("compare_matrices", "Do the matrices agree", "cells both have", compare_matrices),
    Comparison("compare_roles", "Who gives and takes in both", "each study whole", compare_roles),
    Comparison("compare_transfer", "Cell by cell", "cells both have", shared_rows),
)


def compare_all(here: Study, there: Study) -> dict[str, Made]:
    """Every comparison of two studies; the ones that cannot be made carry the reason."""
    made = {}
    for table in TABLES:
        try:
            made[table.name] = Made(table, table.make(here.transfer, there.transfer))
        except NotComputable as why:
            made[table.name] = Made(table, None, str(why))
    return made
