"""Targets that are translations of others, as the config's `tasks[].translation_of` says: no cells of their own.

A mean over targets would count their items twice, and a source of the original's task would be one of another task. So
what adapters do on them is in no table of transfer but in one that sets each beside its original.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from study.cells import Cell, original_cell
from study.store.study_file import entries

KIND = "translated"  # of units of trained adapters on them


def originals(config: Mapping[str, object]) -> dict[str, str]:
    """What each translated task of a study's config is of: a task, or a cell."""
    tasks = {str(task.get("name")): task.get("translation_of") for task in entries(config, "tasks")}
    return {name: str(original) for name, original in tasks.items() if original is not None}


def original_of(target: Cell, known: Mapping[str, str]) -> Cell | None:
    """The cell that a target translates."""
    return original_cell(known[target.task], target.language) if target.task in known else None


def set_apart(units: pl.DataFrame, config: Mapping[str, object]) -> pl.DataFrame:
    """The units with a kind of their own for trained adapters on translated targets."""
    there = pl.col("target_task").is_in([*originals(config)]) & (pl.col("kind") == "trained")
    return units.with_columns(pl.when(there).then(pl.lit(KIND)).otherwise("kind").alias("kind"))
