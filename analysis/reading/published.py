"""The reference study's CSV: read it as a transfer table, write a transfer table as it.

Its columns are those of `results/transfer_results.csv` in the study's release (arXiv 2511.13368): scores as
proportions, Δ in percentage points, one row per (model, source, target), seeds averaged. A published table is
somebody's data: what is wrong in it is named by row and column (`published_rows`), and nothing is guessed.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from analysis.reading.published_rows import checked, rows_of
from analysis.reading.transfer import ERRORS, STATISTICS, finish

RENAMED = {
    "model": "model_name",
    "model_size": "model_size",
    "source_task": "fine_tuned_dataset",
    "source_language": "fine_tuned_language",
    "target_task": "eval_dataset",
    "target_language": "eval_language",
}
COLUMNS = [*RENAMED.values(), "regime", *STATISTICS, "n_seeds", *ERRORS]


def as_reference(transfer: pl.DataFrame) -> pl.DataFrame:
    """The transfer table under the reference study's column names."""
    return transfer.rename(RENAMED).select(COLUMNS)


def read_reference(path: str | Path) -> pl.DataFrame:
    """A reference CSV, plain or gzipped, as a transfer table; ConfigError names what is wrong with it."""
    frame = checked(path, rows_of(path, COLUMNS))
    frame = frame.select(COLUMNS).rename({theirs: ours for ours, theirs in RENAMED.items()}).drop("regime")
    frame = frame.with_columns(
        pl.col("model").map_elements(family, return_dtype=pl.String).alias("model_family"),
        pl.lit(None, pl.Int64).alias("n_items"),
    )
    return finish(frame)


def family(model: str) -> str:
    """Family of a model read off its name: what precedes the size; every Llama 3.x is one family."""
    name = model.rsplit("/", 1)[-1]
    llama = re.search(r"llama-?(\d)", name, re.IGNORECASE)
    if llama:
        return f"Llama-{llama.group(1)}"
    size = re.match(r"(.+?)-\d+(?:\.\d+)?[bm]\b", name, re.IGNORECASE)
    return size.group(1) if size else name
