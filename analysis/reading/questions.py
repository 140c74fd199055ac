"""What chosen items asked, and what was answered: texts and probabilities, which no table needs.

Idea: items are chosen on the panels, and only the rows of those are read, part by part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow.parquet as pq

from study import prompts
from study.prompts import Way
from study.store import composed
from study.store.contents import Damaged, reading
from study.store.layout import ITEMS
from study.store.parts import undisturbed
from study.store.schema import OtherVersion
from study.store.store import Store

COLUMNS = ["score_id", "doc_id", "correct_norm", "pred", "pred_norm", "loglikelihoods", "generation"]
WRITTEN = 600  # characters that are shown of what a model writes
ANSWERS: dict[str, pl.DataType | type[pl.DataType]] = {
    "unit": pl.Int64,
    "doc_id": pl.Int64,
    "choice": pl.Int32,
    "chances": pl.List(pl.Int16),
    "written": pl.String,
}


def answers(store: Store, wanted: pl.DataFrame) -> pl.DataFrame:
    """`unit, doc_id, choice, chances, written` of the `wanted` rows (`unit, score_id, doc_id`), each once.

    `chances` are the shares of the options by their log-likelihoods, in per mille; `choice` is the one that counts: by
    length where the task's accuracy is, −1 where there are none. `written` is cut. Raises Damaged.
    """
    found = undisturbed(lambda: _read(store, wanted))
    return found.unique(["unit", "doc_id"], keep="last", maintain_order=True)


def _read(store: Store, wanted: pl.DataFrame) -> pl.DataFrame:
    wanted = wanted.sort("score_id")
    runs = wanted.with_row_index("at").group_by("score_id").agg(pl.col("at").min(), pl.len())
    at = {score_id: (first, many) for score_id, first, many in runs.iter_rows()}
    files = store.parts(ITEMS)
    parts = (_chosen(name, file, wanted, at) for name, file in zip(files, store.parquet_files(files), strict=True))
    return pl.concat([pl.DataFrame(schema=ANSWERS), *(part for part in parts if part.height)])


def _chosen(name: str, file: pq.ParquetFile, wanted: pl.DataFrame, at: Mapping[str, tuple[int, int]]) -> pl.DataFrame:
    """The rows of one part, which has few of all scores; `at` says where those of a score stand in `wanted`."""
    with reading(name):
        table = file.read(columns=COLUMNS, use_threads=False)
    rows = pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
    some = [wanted.slice(*at[one]) for one in rows["score_id"].unique() if one in at]
    if not some:
        return pl.DataFrame(schema=ANSWERS)
    rows = rows.join(pl.concat(some), on=["score_id", "doc_id"])
    weight = pl.col("loglikelihoods").list.eval((pl.element() - pl.element().max()).exp())
    shares = weight.list.eval((1000 * pl.element() / pl.element().sum()).fill_nan(None).round())
    normed = pl.col("correct_norm").is_not_null()
    return rows.select(
        "unit",
        "doc_id",
        pl.when(normed).then("pred_norm").otherwise("pred").cast(pl.Int32).alias("choice"),
        shares.cast(ANSWERS["chances"]).alias("chances"),
        _cut(pl.col("generation")).alias("written"),
    )


def _cut(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.len_chars() > WRITTEN).then(text.str.head(WRITTEN) + "…").otherwise(text)


@dataclass(frozen=True)
class Asked:
    """Where a store keeps what its targets ask; a target that was scored before that was kept has nothing."""

    store: Store
    targets: Mapping[tuple[str, str], str]  # target_id by task and language
    bases: Mapping[str, str]  # identity of each model
    files: Mapping[Way, Sequence[str]]

    @classmethod
    def of(cls, store: Store) -> Asked:
        """Of the current config. Raises Damaged, OtherVersion."""
        grid = store.read_grid()
        if grid is None:
            return cls(store, {}, {}, {})
        apart = set(composed.held_out(store))
        targets = {
            (row["target_task"], row["target_language"]): row["target_id"]
            for row in grid[1].to_pylist()
            if row["target_id"] not in apart
        }
        bases = {row["model"]: row["subject_id"] for row in grid[0].to_pylist() if row["adapter_id"] is None}
        return cls(store, targets, bases, prompts.kept(store))

    def questions(self, model: str, task: str, language: str) -> tuple[pl.DataFrame | None, bool]:
        """As `study.store.schema.PROMPTS`, and whether a model is asked otherwise than others; None where not kept."""
        target = self.targets.get((task, language), "")
        for base in (self.bases.get(model), None):
            for file in self.files.get((target, base), ()):
                try:
                    return pl.DataFrame(pl.from_arrow(prompts.read(self.store, file))), base is not None
                except (Damaged, OtherVersion, FileNotFoundError):  # all else of the study can be told without it
                    continue
        return None, False
