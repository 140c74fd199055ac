"""Every table of the report, joined from the modules that compute them.

Invariant: a table that cannot be made says why and the others are made all the same; no table changes another. The
order here is that of the page and the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Never, TypeVar

import polars as pl

from analysis.frames import NotComputable, Table
from analysis.reading import study
from analysis.statistics import (
    asymmetry,
    consistency,
    corpus,
    curated,
    curves,
    existing,
    graded,
    groups,
    harm,
    health,
    matrices,
    metrics,
    pareto,
    ranking,
    regimes,
    roles,
    sensitivity,
    significance,
    stability,
)
from analysis.statistics.combinations import additivity, compositions, curve, generation, geometry, schedules
from analysis.statistics.languages import families, linguistic
from analysis.statistics.variance import shares

Read = TypeVar("Read")
TABLES: tuple[Table[study.Study], ...] = (
    *study.TABLES,
    *regimes.TABLES,
    *roles.TABLES,
    *families.TABLES,
    *matrices.TABLES,
    *pareto.TABLES,
    *harm.TABLES,
    *groups.TABLES,
    *curves.TABLES,
    *compositions.TABLES,
    *curve.TABLES,
    *additivity.TABLES,
    *geometry.TABLES,
    *schedules.TABLES,
    *generation.TABLES,
    *existing.TABLES,
    *significance.TABLES,
    *graded.TABLES,
    *corpus.TABLES,
    *metrics.TABLES,
    *sensitivity.TABLES,
    *stability.TABLES,
    *ranking.TABLES,
    *consistency.TABLES,
    *shares.TABLES,
    *asymmetry.TABLES,
    *linguistic.TABLES,
    *curated.TABLES,
    *health.TABLES,
)


@dataclass(frozen=True)
class Made:
    """A table that was asked for: its frame, or the reason why there is none."""

    table: Table[Never]
    frame: pl.DataFrame | None
    reason: str = ""


def make(table: Table[Read], read: Read) -> Made:
    """Make a table of what was read, or keep the reason why it cannot be made."""
    try:
        return Made(table, table.make(read))
    except NotComputable as why:
        return Made(table, None, str(why))


def make_all(tables: Sequence[Table[Read]], read: Read) -> dict[str, Made]:
    """Make every table of what was read, by name."""
    return {table.name: make(table, read) for table in tables}
