"""The adapters that a store has of its current config, a row each: what they are, how training went, where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl
import pyarrow as pa

from study.config import Recipe
from study.store import composed
from study.store.layout import composed_folder
from study.store.records import AdapterRecord
from study.store.store import Store
from study.store.study_file import read_study

COLUMNS: dict[str, tuple[pl.DataType | type[pl.DataType], str]] = {
    "adapter_id": (pl.String, "identity of the adapter"),
    "kind": (pl.String, "trained; composed of others; or existing: trained elsewhere"),
    "model": (pl.String, "model name"),
    "source": (pl.String, "the cells it was trained on; a composed or existing one's name"),
    "source_size": (pl.Int64, "examples in the sample it was trained on, count; null where that was all rows"),
    "seed": (pl.Int64, "training seed"),
    "recipes": (pl.List(pl.String), "the recipes of the config that come to it; null where there is but one"),
    "tuning": (pl.String, "kind of tuning; of a composed one the method"),
    "learning_rate": (pl.Float64, "peak learning rate"),
    "epochs": (pl.Int64, "epochs trained, count"),
    "best_epoch": (pl.Int64, "the epoch whose weights were kept"),
    "train_loss": (pl.Float64, "mean loss on the training examples in that epoch, nats per token"),
    "validation_loss": (pl.Float64, "loss on the validation examples after it, nats per token"),
    "steps": (pl.Int64, "optimiser steps, count"),
    "examples": (pl.Int64, "examples learned from, count"),
    "tokens": (pl.Int64, "tokens trained on, without padding, count"),
    "seconds": (pl.Float64, "its share of its gang's training, s"),
    "device": (pl.String, "device it was trained on"),
    "learned_nothing": (pl.Boolean, "whether its weights make of the base what that was before"),
    "bytes": (pl.Int64, "size of its files, bytes"),
    "folder": (pl.String, "folder in the store, in PEFT format unless the whole model was trained"),
}


def adapters(store: Store) -> pl.DataFrame:
    """COLUMNS, in order of model, kind, source and seed, of the current config. Raises Damaged, OtherVersion."""
    rows = [*_trained(store.records()), *_composed(store), *_given(store)]
    table = pl.DataFrame(rows, schema={name: kind for name, (kind, _) in COLUMNS.items()})
    grid = store.read_grid()
    if grid is not None:
        asked = pl.concat([_scored(grid[0]), _unscored(store)]).unique("adapter_id", keep="first")
        table = table.join(asked, on="adapter_id", how="inner").with_columns(pl.col("size").alias("source_size"))
    named = pl.DataFrame(pl.from_arrow(composed.recipes(store)))
    named = named.group_by("adapter_id", maintain_order=True).agg(pl.col("recipe").alias("named"))
    table = table.join(named, on="adapter_id", how="left").with_columns(pl.col("named").alias("recipes"))
    return table.select(*COLUMNS).sort("model", "kind", "source", "source_size", "seed", "adapter_id")


def _scored(subjects: pa.Table) -> pl.DataFrame:
    """Which adapters are scored, and the size of the sample that each was trained on."""
    rows = pl.DataFrame(pl.from_arrow(subjects)).filter(pl.col("adapter_id").is_not_null(), pl.col("epoch").is_null())
    return rows.select("adapter_id", pl.col("source_size").alias("size"))


def _unscored(store: Store) -> pl.DataFrame:
    """Which others are there for: parts of compositions, and what stages begin with; these are of whole sources."""
    made, begun = (pl.DataFrame(pl.from_arrow(read(store))) for read in (composed.compositions, composed.starts))
    parts = made.select(pl.col("terms").explode().struct.field("subject_id").alias("adapter_id"))
    every = pl.concat([parts, begun.select("adapter_id"), begun.select(pl.col("start_id").alias("adapter_id"))])
    return every.drop_nulls().with_columns(pl.lit(None, pl.Int64).alias("size"))


def _trained(records: Mapping[str, AdapterRecord]) -> Iterator[dict[str, object]]:
    for adapter_id, record in records.items():
        recipe, course, best = Recipe.of_record(record.recipe), record.course, record.course.best
        yield {
            "adapter_id": adapter_id,
            "kind": "trained",
            "model": record.model,
            "source": record.called,
            "seed": record.seed,
            "tuning": recipe.tuning,
            "learning_rate": recipe.learning_rate,
            "epochs": len(course.epochs),
            "best_epoch": course.best_epoch or None,
            "train_loss": best.train_loss if best else None,
            "validation_loss": best.validation_loss if best else None,
            "steps": course.steps,
            "examples": course.examples.train,
            "tokens": course.tokens.useful,
            "seconds": course.seconds,
            "device": record.conditions.device,
            "learned_nothing": course.learned_nothing,
            "bytes": sum(file.bytes for file in record.files.values()),
            "folder": record.folder,
        }


def _composed(store: Store) -> Iterator[dict[str, object]]:
    for adapter_id, record in composed.records(store).items():
        yield {
            "adapter_id": adapter_id,
            "kind": "composed",
            "model": record.model,
            "source": record.name,
            "seed": record.seed,
            "tuning": record.method,
            "bytes": sum(file.bytes for file in record.files.values()),
            "folder": composed_folder(record.model, record.name, record.seed, adapter_id),
        }


def _given(store: Store) -> Iterator[dict[str, object]]:
    info = read_study(store)
    for one in info.adapters if info else ():
        yield {
            "adapter_id": one.adapter_id,
            "kind": "existing",
            "model": one.model,
            "source": one.name,
            "folder": one.folder,
        }
