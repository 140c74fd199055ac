"""What an adapter does to every target that it was scored on, as its card says it: Δ, its interval, what is sure."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analysis.frames import SOURCE, TARGET, cell
from analysis.page.headline import CLAIMING
from analysis.page.words import REGIMES
from analysis.reading.study import Study
from analysis.reading.transfer import learned_from
from analysis.statistics.roles import mean_of_rows
from analysis.tables.registry import Made
from study.store.records import AdapterRecord

SAID = {"harmed": "harmed for certain", "worse": "worse", "better": "better"}
COLUMNS = ["target", "regime", "metric", "delta", "unit", "low", "high", "items", "said", "about", "n_seeds"]
UNKNOWN = {"low": pl.Float64, "high": pl.Float64, "about": pl.String, "n_items": pl.Int64}
LEGEND = f"Regimes, by what the source and the target share: {'; '.join(f'{k}: {v}' for k, v in REGIMES.items())}."


def effects(study: Study, made: Mapping[str, Made], record: AdapterRecord) -> pl.DataFrame:
    """COLUMNS and `doubt`, most harmed first: Δ over the seeds of the adapter's source, in its unit.

    `doubt` says why a target cannot be trusted, nothing where nothing is known. No rows where no Δ is known.
    """
    mine = _mine(record)
    frames = [made[name].frame for name in CLAIMING]
    tables = [_rows(frame.filter(mine)) for frame in frames if frame is not None]
    if frames[0] is None:
        tables.append(_rows(study.transfer.filter(mine)))
    found = pl.concat(tables, how="vertical_relaxed").sort("delta", "target")
    return found.join(_doubts(made["health"].frame, record.model), on="target", how="left", maintain_order="left")


def means(study: Study, record: AdapterRecord) -> pl.DataFrame:
    """`regime, low, high`: the 95 % interval of the mean Δ of accuracies by kind of target, where it is known."""
    rows = study.transfer.filter(_mine(record)).filter(pl.col("delta").is_not_null())
    grids = [one for one in study.grids if one.model == record.model]
    parts = rows.partition_by("regime", as_dict=True) if grids else {}
    ends = [(str(regime), mean_of_rows(part, grids)) for (regime,), part in parts.items()]
    told = [(regime, float(one.low[0]), float(one.high[0])) for regime, one in ends]
    schema = {"regime": pl.String, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(told, schema=schema, orient="row").fill_nan(None)


def _mine(record: AdapterRecord) -> list[pl.Expr]:
    source = learned_from(record)
    known = dict(zip(SOURCE, (source.task, source.language), strict=True)) | {"model": record.model}
    return [pl.col(name) == value for name, value in known.items()]


def _doubts(health: pl.DataFrame | None, model: str) -> pl.DataFrame:
    if health is None:
        return pl.DataFrame(schema={"target": pl.String, "doubt": pl.String})
    rows = health.filter(pl.col("model") == model)
    return rows.group_by(cell(*TARGET).alias("target")).agg(pl.col("check").sort().str.join(", ").alias("doubt"))


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
        cell(*TARGET).alias("target"),
        *COLUMNS[1:7],
        pl.col("n_items").cast(pl.Int64).alias("items"),
        said.alias("said"),
        "about",
        pl.col("n_seeds").cast(pl.Int64),
    )
