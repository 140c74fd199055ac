"""Which score units of a store count: those of the current config, one row each, and what was scored in each.

Kinds: the base; `trained`, one adapter of a source; `sample`, of some of its rows; `epoch`, what one had come to after
an epoch that was not kept; `composed`, put together of others; `existing`, trained elsewhere, without a source or
beside adapters that the study trained on it: those of others are no further seeds of its own. Units
on items that are there to choose a lambda by are apart: no Δ is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from analysis.frames import SOURCE, TARGET
from analysis.reading.published import family
from study.store import composed
from study.store.store import Store

IDENTITIES = ["subject_id", "target_id"]
Notes = list[tuple[int, str]]


@dataclass(frozen=True)
class Current:
    """`units` with model_size, model_family and kind; `held_out` alike, to choose a lambda by; what is asked for."""

    units: pl.DataFrame
    held_out: pl.DataFrame
    compositions: pl.DataFrame  # of the current config, as study.store.schema.COMPOSITIONS has them
    recipes: pl.DataFrame  # likewise, as RECIPES
    expected: int | None = None  # score units


def current(rows: pl.DataFrame, store: Store, notes: Notes) -> Current:
    """Score units of the current config; all there are without a grid."""
    units = rows.sort("written_at").unique("score_id", keep="last", maintain_order=True)
    made = _table(composed.compositions(store)), _table(composed.recipes(store))
    grid = store.read_grid()
    if grid is None:
        sizes = units.with_columns(
            (pl.col("model_params") / 1e9).alias("model_size"),
            pl.col("model").map_elements(family, return_dtype=pl.String).alias("model_family"),
        )
        return Current(_kept(sizes, made, notes), sizes.clear(), *made)
    subjects, targets = (pl.DataFrame(pl.from_arrow(table)) for table in grid)
    held_out = pl.Series("target_id", composed.held_out(store), pl.String)
    measured = set(targets["target_id"]) - set(held_out)
    asked = units.filter(pl.col("target_id").is_in([*measured, *held_out]))
    about = subjects.select("subject_id", "model_size", "model_family")
    sizes = asked.join(about, on="subject_id", how="inner", maintain_order="left")
    notes.append((units.height - sizes.height, "score units of an older config, ignored"))
    is_held_out = pl.col("target_id").is_in(held_out.to_list())
    apart, sizes = sizes.filter(is_held_out), sizes.filter(~is_held_out)
    records = store.records().values() if subjects["epoch"].count() else ()  # a kept epoch has its adapter's scores
    expected = subjects.filter(~pl.col("subject_id").is_in([one.kept_id for one in records])).height * len(measured)
    notes.append((expected - sizes.height, "score units of the config that are not done"))
    return Current(_kept(sizes, made, notes), _kept(apart, made, []), *made, expected)


def _table(read: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(read))


def _kept(units: pl.DataFrame, made: tuple[pl.DataFrame, pl.DataFrame], notes: Notes) -> pl.DataFrame:
    compositions, recipes = made
    return _newest(units.with_columns(_kind(compositions)).drop(IDENTITIES), recipes["adapter_id"].unique(), notes)


def _kind(compositions: pl.DataFrame) -> pl.Expr:
    elsewhere = pl.col("seed").is_null() & pl.col("seed").is_not_null().any().over("model", *SOURCE)
    return (
        pl.when(pl.col("adapter_id").is_null())
        .then(pl.lit("base"))
        .when(pl.col("adapter_id").is_in(compositions["adapter_id"].to_list()))
        .then(pl.lit("composed"))
        .when(pl.col("source_task").is_null() | pl.col("source_language").is_null() | elsewhere)
        .then(pl.lit("existing"))
        .when(pl.col("epoch").is_not_null())
        .then(pl.lit("epoch"))
        .when(pl.col("source_size").is_not_null())
        .then(pl.lit("sample"))
        .otherwise(pl.lit("trained"))
        .alias("kind")
    )


def _newest(units: pl.DataFrame, named: pl.Series, notes: Notes) -> pl.DataFrame:
    """One unit per (model, source, seed, target); adapters without a seed or a source are known by their identity.

    So are those of several recipes, the `named` ones, and those of single epochs.
    """
    several = pl.col("adapter_id").is_in(named.to_list()) | pl.col("epoch").is_not_null()
    who = pl.when(several | pl.col("seed").is_null() | pl.col("source_task").is_null()).then(pl.col("adapter_id"))
    keyed = units.sort("written_at", "score_id").with_columns(who.alias("who"))
    key = ["model", "who", *SOURCE, "source_size", "seed", *TARGET]
    kept = keyed.unique(key, keep="last", maintain_order=True).drop("who")
    kept = kept.sort("model", *SOURCE, "source_size", "seed", *TARGET, "score_id")
    notes.append((units.height - kept.height, "score units for the same model, source, seed and target as a newer one"))
    return kept
