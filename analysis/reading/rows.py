"""A store's rows for people: scores, items and adapters of the current config, each once.

Invariant: the rows are those the report is made of. A unit that ran twice counts once, rows of an older config and
items on which a lambda is chosen are left out, and parts are read as every reader of ours reads them: in buckets, while
a store is compacted, refusing what is damaged or of another version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source

from analysis.reading.adapters import COLUMNS as ADAPTERS
from analysis.reading.adapters import adapters
from analysis.reading.study import KEY_COLUMNS
from analysis.reading.units import IDENTITIES, Current, current
from study.store import schema
from study.store.contents import reading
from study.store.layout import ITEMS
from study.store.parts import undisturbed
from study.store.readable import no_scores, readable
from study.store.store import Store


def _told(rows: pa.Schema) -> dict[str, str]:
    return {field.name: field.metadata[b"description"].decode() for field in rows}


KIND = {
    "kind": "base; trained; sample (of some of a source's rows); epoch (one that was not kept); composed; or existing: "
    "trained elsewhere, without a source or beside adapters that the study trained on it"
}
ABOUT = {
    "model_size": "size of the model as the config states or counts it, billions of parameters",
    "model_family": "model family",
}
ONCE = ["score_id", "doc_id"]  # of items
COLUMNS: Mapping[str, Mapping[str, str]] = {  # of each kind of rows, what they mean
    "scores": {**_told(schema.SCORES), **KIND, **ABOUT},
    "items": {**_told(schema.ITEMS), **KIND},
    "adapters": {name: what for name, (_, what) in ADAPTERS.items()},
}


@dataclass(frozen=True)
class Rows:
    """Rows of a store, read when they are asked for; what raises ConfigError says how to mend it."""

    store: Store

    @cached_property
    def scores(self) -> pl.DataFrame:
        """A row per unit and metric."""
        units = self._current.units.select("score_id", *KIND, *ABOUT)
        newest = self._scores.sort("written_at").unique(["score_id", "metric"], keep="last", maintain_order=True)
        found = newest.join(units, on="score_id", how="inner", maintain_order="right")
        return found.select(*COLUMNS["scores"])

    @property
    def items(self) -> pl.LazyFrame:
        """A row per unit and item; only what a query asks for is read, a part at a time."""
        kinds = self._current.units.select("score_id", *KIND)
        return register_io_source(partial(_items, self.store, kinds), schema=item_schema(), is_pure=True)

    @cached_property
    def adapters(self) -> pl.DataFrame:
        """A row per adapter that is there."""
        with readable("STORE", self.store.uri):
            return adapters(self.store)

    @cached_property
    def _scores(self) -> pl.DataFrame:
        with readable("STORE", self.store.uri):
            rows = pl.DataFrame(pl.from_arrow(self.store.scores()))
        if not rows.height:
            raise no_scores("STORE", self.store.uri)
        return rows

    @cached_property
    def _current(self) -> Current:
        with readable("STORE", self.store.uri):
            return current(self._scores.select(*KEY_COLUMNS, *IDENTITIES, "written_at"), self.store, [])


@cache
def item_schema() -> pl.Schema:
    """The types of the columns of items."""
    empty = pl.DataFrame(pl.from_arrow(schema.empty(schema.ITEMS, schema.ITEMS.names)))
    return empty.with_columns(pl.lit(None, pl.String).alias("kind")).schema


def _items(
    store: Store,
    kinds: pl.DataFrame,
    columns: list[str] | None,
    predicate: pl.Expr | None,
    most: int | None,
    _size: int | None,
) -> Iterator[pl.DataFrame]:
    """The parts' rows, as Polars asks a source for them: its columns, its rows, and no more than `most`.

    Of an item that was answered twice the newest row counts, as for scores and in the report.
    """
    with readable("STORE", store.uri):
        names, twice = undisturbed(lambda: _doubled(store))
        seen = pl.DataFrame(schema={"score_id": pl.String, "doc_id": pl.Int64})
        for name, file in zip(names, store.parquet_files(names), strict=True):
            rows = _part(name, file, columns, predicate).unique(ONCE, keep="last", maintain_order=True)
            rows = rows.join(seen, on=ONCE, how="anti", maintain_order="left")
            seen = pl.concat([seen, rows.filter(pl.col("score_id").is_in(twice.implode())).select(ONCE)])
            rows = rows.join(kinds, on="score_id", how="inner", maintain_order="left")
            rows = rows if predicate is None else rows.filter(predicate)
            rows = rows.select(columns or item_schema().names())
            yield rows if most is None else rows.head(most)
            most = None if most is None else most - rows.height
            if most is not None and most <= 0:
                return


def _doubled(store: Store) -> tuple[list[str], pl.Series]:
    """The parts of the items, the newest first, and the units that have rows in several of them."""
    names = store.parts(ITEMS)[::-1]
    found = [
        _read(name, file, ["score_id"]).unique() for name, file in zip(names, store.parquet_files(names), strict=True)
    ]
    every = pl.concat(found) if found else pl.DataFrame(schema={"score_id": pl.String})
    return names, every.filter(pl.col("score_id").is_duplicated())["score_id"].unique()


def _part(name: str, file: pq.ParquetFile, columns: list[str] | None, predicate: pl.Expr | None) -> pl.DataFrame:
    """The columns of a part that a query needs; what an older release did not write is null."""
    types = item_schema()
    asked = columns or types.names()
    needed = {*asked, *ONCE, *(predicate.meta.root_names() if predicate is not None else ())} - set(KIND)
    there = [one for one in schema.ITEMS.names if one in needed]
    rows = _read(name, file, there)
    lacking = [one for one in there if one not in rows.columns]
    return rows.with_columns(pl.lit(None, types[one]).alias(one) for one in lacking)


def _read(name: str, file: pq.ParquetFile, columns: Sequence[str]) -> pl.DataFrame:
    with reading(name):
        table = file.read(columns=list(columns), use_threads=False)
    return pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
