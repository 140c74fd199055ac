"""Every table of the report: its name, what it is made from, what makes it.

Invariant: a table that cannot be made says why and the others are made all the same; no table changes another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from analysis.frames import NotComputable
from analysis.reading.study import Study
from analysis.statistics import (
    asymmetry,
    consistency,
    curated,
    health,
    linguistic,
    matrices,
    pareto,
    ranking,
    regimes,
    roles,
    significance,
    stability,
    variance,
)
from analysis.tables.columns import COLUMNS


@dataclass(frozen=True)
class Table:
    """One table: `make` takes a study to a frame or raises NotComputable; `rows` says which rows it reads."""

    name: str
    title: str
    rows: str
    make: Callable[[Study], pl.DataFrame]

    @property
    def columns(self) -> dict[str, str]:
        """What each column means, in order."""
        return COLUMNS[self.name]


class Described(Protocol):
    """What writing and showing a table needs to know of it."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def rows(self) -> str: ...
    @property
    def columns(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class Made:
    """A table that was asked for: its frame, or the reason why there is none."""

    table: Described
    frame: pl.DataFrame | None
    reason: str = ""


def _transfer(study: Study) -> pl.DataFrame:
    if not study.transfer.height:
        raise NotComputable("no adapter with a source cell has been scored on a target that the base was scored on")
    return study.transfer


TABLES: tuple[Table, ...] = (
    Table(
        "transfer",
        "The transfer table",
        "every (model, source, target), seeds averaged",
        _transfer,
    ),
    Table(
        "regime_summary",
        "Effect by regime",
        "all rows; row “all” leaves MT-ML out",
        lambda s: regimes.regime_summary(s.transfer),
    ),
    Table(
        "language_roles",
        "Who gives and who takes: languages",
        "MT-CL rows",
        lambda s: roles.language_roles(s.transfer),
    ),
    Table(
        "task_roles",
        "Who gives and who takes: tasks",
        "CT-ML rows",
        lambda s: roles.task_roles(s.transfer),
    ),
    Table(
        "task_matrix",
        "Task to task",
        "CT-ML rows",
        lambda s: matrices.task_matrix(s.transfer),
    ),
    Table(
        "language_matrix",
        "Language to language",
        "MT-CL rows",
        lambda s: matrices.language_matrix(s.transfer),
    ),
    Table(
        "matrix",
        "Every source on every target",
        "all rows, averaged over models",
        lambda s: matrices.cell_matrix(s.transfer),
    ),
    Table(
        "pareto",
        "Gain on the own task against effect elsewhere",
        "transfer rows",
        lambda s: pareto.pareto(s.transfer),
    ),
    Table(
        "on_off_task",
        "On and off the own task",
        "transfer rows",
        lambda s: regimes.on_off_task(s.transfer),
    ),
    Table(
        "harm_breakdown",
        "Where transfer within a task harms",
        "MT-CL rows",
        lambda s: regimes.harm_breakdown(s.transfer),
    ),
    Table(
        "significance",
        "Which changes are more than chance",
        "all rows, from their items",
        lambda s: significance.significance(s.panels, s.units),
    ),
    Table(
        "rank_stability",
        "How sure the rankings are",
        "MT-CL rows (languages) and CT-ML rows (tasks), from their items",
        lambda s: stability.rank_stability(s.panels, s.units),
    ),
    Table(
        "kendall_w",
        "Do models agree on who gives",
        "MT-CL rows (languages) and CT-ML rows (tasks)",
        lambda s: ranking.kendall_w(s.transfer),
    ),
    Table(
        "consistency",
        "Does a source order its targets alike in every model",
        "transfer rows",
        lambda s: consistency.consistency(s.transfer),
    ),
    Table(
        "variance_crossed",
        "What decides Δ: model, source or target (crossed)",
        "transfer rows",
        lambda s: variance.variance_crossed(s.transfer),
    ),
    Table(
        "variance_nested",
        "What decides Δ: source and target within model (as published)",
        "transfer rows",
        lambda s: variance.variance_nested(s.transfer),
    ),
    Table(
        "asymmetry",
        "Is giving the same as taking",
        "language, task and cell matrix",
        lambda s: asymmetry.asymmetry(s.transfer),
    ),
    Table(
        "linguistic",
        "Do related languages help each other more",
        "language pairs, means of MT-CL rows",
        lambda s: linguistic.linguistic(s.transfer),
    ),
    Table(
        "curated_vs_translated",
        "Do the same languages donate on curated and on translated tasks",
        "MT-CL rows of two disjoint sets of tasks",
        lambda s: curated.curated_vs_translated(s.transfer, s.curated),
    ),
    Table(
        "health",
        "Targets that cannot be trusted",
        "items of every model and target",
        lambda s: health.health(s.panels, s.units, s.records),
    ),
)


def make_all(study: Study, tables: tuple[Table, ...] = TABLES) -> dict[str, Made]:
    """Make every table; the ones that cannot be made carry the reason."""
    made = {}
    for table in tables:
        try:
            made[table.name] = Made(table, table.make(study))
        except NotComputable as why:
            made[table.name] = Made(table, None, str(why))
    return made
