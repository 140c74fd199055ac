"""What was written: how many answers of each score unit are empty, or cut off, and how long they are."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from study.store.contents import reading
from study.store.layout import ITEMS
from study.store.parts import undisturbed
from study.store.store import Store

SCHEMA = {"score_id": pl.String, "n": pl.Int64, "empty": pl.Int64, "characters": pl.Int64}
SCHEMA |= {"cut_off": pl.Int64, "told": pl.Int64}


def answers(store: Store, score_ids: Collection[str]) -> pl.DataFrame:
    """`score_id, n, empty, characters, cut_off, told` of those units that wrote something to be read. Raises Damaged.

    Of how many it is `told` whether they are cut off: older parts do not say it.
    """
    return undisturbed(lambda: _read(store, pl.Series(sorted(score_ids), dtype=pl.String)))


def _read(store: Store, wanted: pl.Series) -> pl.DataFrame:
    files, found = store.parts(ITEMS), [pl.DataFrame(schema=SCHEMA)]
    for name, file in zip(files, store.parquet_files(files), strict=True):
        with reading(name):
            table = file.read(columns=["score_id", "generation", "cut_off"], use_threads=False)
        rows = pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
        if "cut_off" not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.Boolean).alias("cut_off"))
        written = rows.filter(pl.col("generation").is_not_null(), pl.col("score_id").is_in(wanted.implode()))
        text = pl.col("generation").str.strip_chars()
        found.append(
            written.group_by("score_id").agg(
                pl.len().cast(pl.Int64).alias("n"),
                (text.str.len_chars() == 0).sum().cast(pl.Int64).alias("empty"),
                text.str.len_chars().sum().cast(pl.Int64).alias("characters"),
                pl.col("cut_off").sum().cast(pl.Int64),
                pl.col("cut_off").count().cast(pl.Int64).alias("told"),
            )
        )
    return pl.concat(found).group_by("score_id").sum()
