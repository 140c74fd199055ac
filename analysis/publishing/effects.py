"""What an adapter does to every target that it was scored on, as its card says it: Δ, its interval, what is sure."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analysis.frames import SOURCE, TARGET, cell
from analysis.reading.study import Study
from analysis.reading.transfer import learned_from
from analysis.tables.registry import Made
from study.store.records import AdapterRecord

CLAIMING = ("significance", "graded", "corpus")  # tables that claim something of single cells
SAID = {"harmed": "harmed for certain", "worse": "worse", "better": "better"}
COLUMNS = ["target", "regime", "metric", "delta", "unit", "low", "high", "said", "about", "n_seeds"]
UNKNOWN = {"low": pl.Float64, "high": pl.Float64, "about": pl.String}


def effects(study: Study, made: Mapping[str, Made], record: AdapterRecord) -> pl.DataFrame:
    """COLUMNS, most harmed first: Δ over the seeds of the adapter's source, in its unit.

    No rows where none is known.
    """
    source = learned_from(record)
    mine = [pl.col("model") == record.model]
    mine += [pl.col(name) == value for name, value in zip(SOURCE, (source.task, source.language), strict=True)]
    frames = [made[name].frame for name in CLAIMING]
    tables = [_rows(frame.filter(mine)) for frame in frames if frame is not None]
    if frames[0] is None:
        tables.append(_rows(study.transfer.filter(mine)))
    return pl.concat(tables, how="vertical_relaxed").sort("delta", "target")


def _rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table that may lack what is claimed of them, or be in points of an accuracy."""
    lacking = {**UNKNOWN, **dict.fromkeys(SAID, pl.Boolean)}
    texts = {"metric": "accuracy", "unit": "pp"}
    frame = frame.with_columns(
        *(pl.lit(None, kind).alias(name) for name, kind in lacking.items() if name not in frame.columns),
        *(pl.lit(text).alias(name) for name, text in texts.items() if name not in frame.columns),
    )
    said = pl.lit(None, pl.String)
    for claim, words in reversed(SAID.items()):
        said = pl.when(pl.col(claim)).then(pl.lit(words)).otherwise(said)
    return frame.select(
        cell(*TARGET).alias("target"), *COLUMNS[1:7], said.alias("said"), "about", pl.col("n_seeds").cast(pl.Int64)
    )
