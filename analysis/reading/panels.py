"""Items as matrices: one panel per (model, target), rows are score units, columns are the base's items.

Idea: streaming part file by part file, so memory holds five small numbers per item and no string. A unit that ran
twice writes the same places of the matrix twice, which is all the de-duplication there is. The base is the panel's
first row and its items are the panel's columns: every Δ is on the same items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from study.store.contents import reading
from study.store.layout import ITEMS
from study.store.parts import undisturbed
from study.store.store import Store

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Kind = TypeVar("Kind", bound=np.generic)
COLUMNS = ["score_id", "doc_id", "correct", "correct_norm", "graded", "pred", "pred_norm"]
BASE_COLUMNS = ["score_id", "doc_id", "doc_hash", "gold", "graded_metric", "loglikelihoods", "option_chars"]
LATER = {"graded": pl.Float32, "graded_metric": pl.String}  # null in parts that were written before them


@dataclass(frozen=True)
class Panel:
    """One (model, target): U units × N items. NaN (or −1 for `pred`) where a unit has no such item."""

    model: str
    task: str
    language: str
    units: Ints  # U: row of each unit in the units frame, the base first
    docs: Ints  # N: doc_id
    metric: str  # "" for an accuracy, else the name of the metric that items are graded by
    correct: Floats  # U × N; the item's grade where it is graded
    norm: Floats  # U × N: correct_norm, or correct where the task defines none
    pred: npt.NDArray[np.int16]  # U × N: option chosen, by normalised log-likelihood where the task has that accuracy
    gold: Ints  # N: −1 where the task has none
    options: Ints  # N: number of options; 0 where there are none
    hashes: tuple[str, ...]  # N: content hash of each item
    classes: bool = True  # whether every item offers the same options, as far as their lengths tell
    told: npt.NDArray[np.float64] | None = None  # N: the base's log-likelihood of each item's first text, nats
    group: Ints | None = None  # N: number, in the task, of the items that each hangs together with; None: of none

    @property
    def valued(self) -> bool:
        """Whether the base's items have values: those of F1, BLEU and the like have none."""
        return not bool(np.isnan(self.correct[0]).all())

    @property
    def scored(self) -> Ints:
        """The units that have an item of the base's, with a value."""
        return self.units[~np.isnan(self.norm).all(axis=1)]


@dataclass(frozen=True)
class _Rows:
    """Columns of the item rows that belong to known units."""

    unit: Ints
    doc: Ints
    correct: Floats
    norm: Floats
    pred: npt.NDArray[np.int16]


def read_panels(store: Store, units: pl.DataFrame, apart: pl.Series | None = None) -> tuple[list[Panel], int]:
    """Panels of the units frame (needs `score_id, adapter_id, model, target_task, target_language`).

    Returns the panels of every (model, target) whose base has items, and how many item rows belong neither to a unit
    nor to a score_id of `apart`. Raises Damaged.
    """
    known = units.select("score_id", pl.int_range(pl.len(), dtype=pl.Int64).alias("unit"), "adapter_id")
    parts, facts, ignored = undisturbed(lambda: _read(store, known, apart))
    if not parts:
        return [], ignored
    together = _Rows(*(np.concatenate([getattr(p, name) for p in parts]) for name in _Rows.__annotations__))
    del parts
    return _split(units, together, pl.concat(facts) if facts else None), ignored


def _read(store: Store, known: pl.DataFrame, apart: pl.Series | None) -> tuple[list[_Rows], list[pl.DataFrame], int]:
    """The rows of known units, what bases' rows say of items, and how many rows are of no known unit."""
    parts, facts, ignored = [], [], 0
    files = store.parts(ITEMS)
    for name, file in zip(files, store.parquet_files(files), strict=True):
        frame = _columns(name, file, COLUMNS)
        rows = frame.join(known, on="score_id", how="inner")
        ignored += frame.height - rows.height
        if apart is not None and len(apart) and frame.height > rows.height:
            ignored -= frame.filter(pl.col("score_id").is_in(apart.implode())).height
        if rows["adapter_id"].null_count():
            base = known.filter(pl.col("adapter_id").is_null())
            facts.append(_base_facts(_columns(name, file, BASE_COLUMNS)).join(base, on="score_id", how="inner"))
        parts.append(_rows(rows))
    return parts, facts, ignored


def _columns(name: str, file: pq.ParquetFile, columns: list[str]) -> pl.DataFrame:
    with reading(name):
        table = file.read(columns=columns, use_threads=False)
    frame = pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
    lacking = [name for name in columns if name in LATER and name not in frame.columns]
    return frame.with_columns(pl.lit(None, LATER[name]).alias(name) for name in lacking)


def _base_facts(frame: pl.DataFrame) -> pl.DataFrame:
    options = pl.col("loglikelihoods").list.len().cast(pl.Int64).alias("options")
    metric = pl.col("graded_metric").fill_null("").alias("metric")
    gold = pl.col("gold").cast(pl.Int64)
    told = pl.col("loglikelihoods").list.first().cast(pl.Float64).alias("told")
    return frame.select("score_id", "doc_id", "doc_hash", gold, metric, options, "option_chars", told)


def _rows(frame: pl.DataFrame) -> _Rows:
    frame = frame.with_columns(
        pl.coalesce("correct", "graded").cast(pl.Float32).fill_null(float("nan")).alias("correct")
    )
    norm = frame["correct_norm"].fill_null(frame["correct"])
    chosen = pl.when(pl.col("correct_norm").is_null()).then("pred").otherwise("pred_norm")
    return _Rows(
        frame["unit"].to_numpy(),
        frame["doc_id"].to_numpy(),
        frame["correct"].to_numpy(),
        norm.to_numpy(),
        frame.select(chosen.cast(pl.Int16)).to_series().to_numpy(),
    )


def _split(units: pl.DataFrame, rows: _Rows, facts: pl.DataFrame | None) -> list[Panel]:
    if facts is None:
        return []
    keys = ["model", "target_task", "target_language"]
    panel_of = units.select(pl.struct(keys).rank("dense") - 1).to_series().cast(pl.Int32).to_numpy()
    names = units.select(keys).unique().sort(pl.struct(keys)).rows()
    base_of = facts.with_columns(pl.Series("panel", panel_of[facts["unit"].to_numpy()]))
    by_panel = {int(key[0]): part for key, part in base_of.partition_by("panel", as_dict=True).items()}
    row_panel = panel_of[rows.unit]
    order = np.argsort(row_panel, kind="stable")
    bounds = np.searchsorted(row_panel[order], np.arange(len(names) + 1))
    panels = []
    for index, (model, task, language) in enumerate(names):
        chosen = order[bounds[index] : bounds[index + 1]]
        if index in by_panel:
            panels.append(_panel((model, task, language), rows, chosen, by_panel[index]))
    return panels


def _panel(name: tuple[str, str, str], rows: _Rows, chosen: Ints, facts: pl.DataFrame) -> Panel:
    facts = facts.unique("doc_id", keep="last", maintain_order=True).sort("doc_id")
    docs, base = facts["doc_id"].to_numpy(), int(facts["unit"][0])
    others = np.unique(rows.unit[chosen])
    units = np.concatenate([[base], others[others != base]])
    sorter = np.argsort(units)
    at_row = sorter[np.searchsorted(units, rows.unit[chosen], sorter=sorter)]
    at_doc = np.searchsorted(docs, rows.doc[chosen]).clip(max=len(docs) - 1)
    shared = docs[at_doc] == rows.doc[chosen]
    at = (at_row[shared], at_doc[shared])
    shape = (len(units), len(docs))

    def filled(values: npt.NDArray[Kind], blank: float) -> npt.NDArray[Kind]:
        matrix = np.full(shape, blank, dtype=values.dtype)
        matrix[at] = values[chosen][shared]
        return matrix

    return Panel(
        *name,
        units,
        docs,
        next((name for name in facts["metric"] if name), ""),  # an item without a value has none
        filled(rows.correct, np.nan),
        filled(rows.norm, np.nan),
        filled(rows.pred, -1),
        facts["gold"].to_numpy(),
        facts["options"].to_numpy(),
        tuple(facts["doc_hash"].to_list()),
        facts["option_chars"].n_unique() == 1,
        facts["told"].to_numpy(),
    )


def unit_scores(panels: list[Panel]) -> pl.DataFrame:
    """Per unit (the base too): `unit, n_items, score, score_norm, base_score, base_score_norm`.

    Scores are means over the items that the unit and the base share; a unit that shares none has nulls.
    """
    return pl.concat([_panel_scores(panel) for panel in panels]) if panels else pl.DataFrame(schema=_SCORES)


_SCORES = {
    "unit": pl.Int64,
    "n_items": pl.Int64,
    "score": pl.Float64,
    "score_norm": pl.Float64,
    "base_score": pl.Float64,
    "base_score_norm": pl.Float64,
}


def _panel_scores(panel: Panel) -> pl.DataFrame:
    seen = ~np.isnan(panel.correct)
    n = seen.sum(axis=1)

    def mean(values: Floats) -> npt.NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            total: npt.NDArray[np.float64] = np.where(seen, values, 0).sum(axis=1, dtype=np.float64) / n
        return total

    columns = {
        "unit": panel.units,
        "n_items": n,
        "score": mean(panel.correct),
        "score_norm": mean(panel.norm),
        "base_score": mean(np.broadcast_to(panel.correct[0], seen.shape)),
        "base_score_norm": mean(np.broadcast_to(panel.norm[0], seen.shape)),
    }
    return pl.DataFrame(columns, schema=_SCORES).with_columns(pl.col(pl.Float64).fill_nan(None))
