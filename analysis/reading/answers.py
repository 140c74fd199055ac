"""What was written: how many answers of each score unit are empty, or cut off, how long, and in which language."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from study.languages import Languages
from study.store.contents import reading
from study.store.layout import ITEMS
from study.store.parts import undisturbed
from study.store.store import Store

SCHEMA = {"score_id": pl.String, "n": pl.Int64, "empty": pl.Int64, "characters": pl.Int64}
SCHEMA |= {"cut_off": pl.Int64, "told": pl.Int64, "in_language": pl.Int64}
COLUMNS = ["score_id", "doc_id", "target_language", "generation", "cut_off", "written_at"]


def answers(store: Store, score_ids: Collection[str], known: Languages) -> pl.DataFrame:
    """`score_id, n, empty, characters, cut_off, told, in_language` of units that wrote something. Raises Damaged.

    Of how many it is `told` whether they are cut off: older parts do not say it. `in_language` are those that are taken
    for their target's language alone, as far as that and others are `known`; one without a known trigram is in none.
    """
    return undisturbed(lambda: _read(store, pl.Series(sorted(score_ids), dtype=pl.String), known))


def told_apart(store: Store, score_ids: Collection[str], known: Languages) -> pl.DataFrame:
    """`score_id, doc_id, in_language` of every answer of units that wrote something. Raises Damaged."""
    wanted = pl.Series(sorted(score_ids), dtype=pl.String)
    found = undisturbed(lambda: list(_written(store, wanted, known)))
    schema = {"score_id": pl.String, "doc_id": pl.Int64, "in_language": pl.Boolean}
    parts = [part.select("written_at", *schema) for part in found]
    newest = pl.concat(parts).sort("written_at").unique(["score_id", "doc_id"], keep="last") if parts else None
    return pl.DataFrame(schema=schema) if newest is None else newest.select(*schema)


def _written(store: Store, wanted: pl.Series, known: Languages) -> Iterator[pl.DataFrame]:
    """The rows of answers of units, file by file, with whether each is in its target's language."""
    files = store.parts(ITEMS)
    for name, file in zip(files, store.parquet_files(files), strict=True):
        with reading(name):
            table = file.read(columns=COLUMNS, use_threads=False)
        rows = pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
        if "cut_off" not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.Boolean).alias("cut_off"))
        written = rows.filter(pl.col("generation").is_not_null(), pl.col("score_id").is_in(wanted.implode()))
        yield written.join(_guessed(written, known), on=["generation", "target_language"], how="left")


def _read(store: Store, wanted: pl.Series, known: Languages) -> pl.DataFrame:
    found = [pl.DataFrame(schema=SCHEMA)]
    for written in _written(store, wanted, known):
        text = pl.col("generation").str.strip_chars()
        found.append(
            written.group_by("score_id").agg(
                pl.len().cast(pl.Int64).alias("n"),
                (text.str.len_chars() == 0).sum().cast(pl.Int64).alias("empty"),
                text.str.len_chars().sum().cast(pl.Int64).alias("characters"),
                pl.col("cut_off").sum().cast(pl.Int64),
                pl.col("cut_off").count().cast(pl.Int64).alias("told"),
                pl.col("in_language").sum().cast(pl.Int64),
            )
        )
    return pl.concat(found).group_by("score_id").sum()


def _guessed(written: pl.DataFrame, known: Languages) -> pl.DataFrame:
    """`generation, target_language, in_language` of every text that was written for a language, once."""
    texts = written.select("generation", "target_language").unique(maintain_order=True)
    told = [known.guess(text) == (language,) for text, language in texts.iter_rows()]
    return texts.with_columns(pl.Series("in_language", told, pl.Boolean))
