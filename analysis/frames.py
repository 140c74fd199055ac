"""The words every table shares: keys and what they mean, thresholds, how a set of Δ is summed up, what a table is.

Invariant: Δ is in percentage points; harm is Δ ≤ −1.0, positive transfer is Δ > 0; transfer rows are those whose
regime is not MT-ML. Δ made from a store is rounded to 1e-9 pp where it is made, so that these comparisons are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import polars as pl

from study.cells import REGIMES

HARM_PP = -1.0
HARM = f"Δ ≤ −{-HARM_PP:.1f} pp"
SEED = 20251113  # of every random draw
CURATED = ("global_mmlu",)  # tasks whose items were made or checked by people in each language
ALL_MODELS = "mean over models"  # stands for the model in rows that are averaged over them
TRANSFER_REGIMES = tuple(r for r in REGIMES if r != "MT-ML")
SOURCE = ["source_task", "source_language"]
TARGET = ["target_task", "target_language"]
KEYS = ["model", *SOURCE, *TARGET]
# what the columns mean that several tables have
SOURCE_WORDS = {"source_task": "task trained on", "source_language": "language trained on"}
TARGET_WORDS = {"target_task": "task scored on", "target_language": "language scored on"}
CELL_WORDS = SOURCE_WORDS | TARGET_WORDS | {"regime": "MT-ML, MT-CL, CT-ML or CT-CL"}
MODEL_WORDS = {"model": "model name"}
DELTA_WORDS = "mean Δ, pp"
RATE_WORDS = {
    "positive_rate": "share of rows with Δ > 0, %",
    "harm_rate": f"share of rows with {HARM}, %",
    "harm_floor": "the harm rate that item and seed noise alone would print if no row had any effect, %; null without "
    "items",
    "harm_least": f"lower 95 % bound on the share of rows whose true {HARM}, %; null without items",
}
ROWS_WORDS = {"n": "rows of the transfer table", "mean": DELTA_WORDS}
Read_contra = TypeVar("Read_contra", contravariant=True)


@dataclass(frozen=True)
class Table(Generic[Read_contra]):
    """A table of the report, stated by the module that computes it; page, files and documentation repeat it."""

    name: str
    title: str
    rows: str  # which rows it is made from
    columns: Mapping[str, str]  # what each column means, with its unit, in their order
    make: Callable[[Read_contra], pl.DataFrame]  # raises NotComputable
    how: str = ""  # how to read it, where the page shows it as a table


class NotComputable(Exception):
    """A table cannot be made from these rows; the message says why, in words for the report."""


def need(condition: bool, reason: str) -> None:
    """Raise NotComputable with the reason unless the condition holds."""
    if not condition:
        raise NotComputable(reason)


def transfer_rows(transfer: pl.DataFrame, *regimes: str) -> pl.DataFrame:
    """Rows with a Δ in the given regimes (all but MT-ML when none is given); NotComputable when there are none."""
    wanted = list(regimes or TRANSFER_REGIMES)
    rows = transfer.filter(pl.col("regime").is_in(wanted), pl.col("delta").is_not_null())
    need(rows.height > 0, f"there are no rows of regime {', '.join(wanted)}")
    return rows


def positive_rate() -> pl.Expr:
    """Share of rows with Δ > 0, %."""
    return ((pl.col("delta") > 0).mean() * 100).alias("positive_rate")


def harmed(delta: str = "delta") -> pl.Expr:
    """Whether a row loses a point or more."""
    return pl.col(delta) <= HARM_PP


def harm_rate(delta: str = "delta") -> pl.Expr:
    """Share of rows that are harmed, %."""
    return (harmed(delta).mean() * 100).alias("harm_rate")


def summary() -> list[pl.Expr]:
    """n, mean, median, positive_rate, harm_rate of `delta`, as `regime_summary` defines them."""
    delta = pl.col("delta")
    return [
        pl.len().cast(pl.Int64).alias("n"),
        delta.mean().alias("mean"),
        delta.median().alias("median"),
        positive_rate(),
        harm_rate(),
    ]


def cell(task: str, language: str) -> pl.Expr:
    """`task/language` from two columns."""
    return pl.concat_str([pl.col(task), pl.col(language)], separator="/")


def quantile(values: list[float], q: float) -> float:
    """Linear-interpolated quantile (Hyndman and Fan type 7, the default of pandas and numpy)."""
    result = pl.Series(values, dtype=pl.Float64).quantile(q, "linear")
    return float("nan") if result is None else float(result)
