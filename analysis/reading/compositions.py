"""What a study put together of several adapters: names, parts, weights, records, and scores on held-out items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from analysis.frames import TARGET
from analysis.reading.units import Current
from study.store.composed import ComposedRecord, records
from study.store.store import Store


@dataclass(frozen=True)
class Compositions:
    """`named` is as study.store.schema.COMPOSITIONS has it: one adapter may stand under two names, a name under many λ.

    `held_out` has `model, adapter_id, target…, metric, delta`: by how much its headline metric is above the base's,
    so that more is better, on items that are there to choose λ by.
    """

    named: pl.DataFrame
    held_out: pl.DataFrame
    records: Mapping[str, ComposedRecord]  # by adapter_id


def compositions_of(store: Store, asked: Current, rows: pl.DataFrame) -> Compositions | None:
    """Read them; None where the config asks for none. `rows` are the store's score rows, metric by metric."""
    if not asked.compositions.height:
        return None
    known = records(store)
    return Compositions(_weighed(asked.compositions, known), _held_out(asked.held_out, rows), known)


def _weighed(named: pl.DataFrame, known: Mapping[str, ComposedRecord]) -> pl.DataFrame:
    """With the weights that were searched, which the records know. One that is not made yet has none."""
    if not named["terms"].explode().struct.field("weight").null_count():
        return named
    rows = named.to_dicts()
    for row in rows:
        record = known.get(row["adapter_id"])
        found = {one.adapter_id: one.weight for one in record.terms} if record else {}
        row["terms"] = [
            term | {"weight": found.get(term["subject_id"], 0.0) if term["weight"] is None else term["weight"]}
            for term in row["terms"]
        ]
    return pl.DataFrame(rows, schema=named.schema)


def _held_out(units: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    newest = rows.filter("headline").sort("written_at").unique("score_id", keep="last", maintain_order=True)
    sign = pl.when(pl.col("higher_is_better").fill_null(True)).then(1).otherwise(-1)
    told = newest.select("score_id", "metric", (sign * pl.col("value")).alias("value"))
    scored = units.join(told, on="score_id", how="inner")
    key = ["model", *TARGET, "metric"]
    base = scored.filter(pl.col("kind") == "base").select(*key, pl.col("value").alias("base"))
    mine = scored.filter(pl.col("kind") == "composed").join(base, on=key, how="inner", maintain_order="left")
    return mine.select("model", "adapter_id", *TARGET, "metric", (pl.col("value") - pl.col("base")).alias("delta"))
