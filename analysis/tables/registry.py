"""Every table of the report, joined from the modules that compute them.

Invariant: a table that cannot be made says why and the others are made all the same; no table changes another. The
order here is that of the page and the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Never, TypeVar

import polars as pl

from analysis.frames import NotComputable, Table
from analysis.reading import study
from analysis.statistics import (
    asymmetry,
    consistency,
    corpus,
    curated,
    epochs,
    existing,
    graded,
    groups,
    harm,
    health,
    matrices,
    metrics,
    pareto,
    ranking,
    recipes,
    regimes,
    roles,
    sensitivity,
    significance,
    stability,
    text_loss,
    translations,
)
from analysis.statistics.combinations import (
    additivity,
    changes,
    compositions,
    curve,
    generation,
    geometry,
    schedules,
    wrong_language,
)
from analysis.statistics.languages import families, linguistic, why
from analysis.statistics.samples import corpus as corpus_curves
from analysis.statistics.samples import curves
from analysis.statistics.samples import graded as graded_curves
from analysis.statistics.variance import shares

Read = TypeVar("Read")
RECIPE_WORDS = {"recipe": "the recipe by which all of the row was trained"}
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
    *graded_curves.TABLES,
    *corpus_curves.TABLES,
    *recipes.TABLES,
    *epochs.TABLES,
    *compositions.TABLES,
    *curve.TABLES,
    *additivity.TABLES,
    *geometry.TABLES,
    *schedules.TABLES,
    *changes.TABLES,
    *translations.TABLES,
    *text_loss.TABLES,
    *generation.TABLES,
    *wrong_language.TABLES,
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
    *why.TABLES,
    *curated.TABLES,
    *health.TABLES,
)


def tables_of(read: study.Study) -> list[Table[study.Study]]:
    """Those that a study has a place for: no recipes where it has but one, no epochs where the kept alone is scored."""
    shown = read.units.width and (read.units["kind"] == "epoch").any()
    absent = (*(() if read.across else recipes.TABLES), *(() if shown else epochs.TABLES))
    return [table for table in TABLES if table not in absent]


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


def together(
    made: Mapping[str, Mapping[str, Made]], words: Mapping[str, str] = MappingProxyType(RECIPE_WORDS)
) -> dict[str, Made]:
    """The tables of several recipes, or what `words` names, as one each, with its name first; and why some lack it."""
    result, (label,) = {}, words
    for name in dict.fromkeys(name for each in made.values() for name in each):
        parts = {recipe: each[name] for recipe, each in made.items() if name in each}
        table: Table[Never] = next(iter(parts.values())).table
        whole = replace(table, columns=dict(words) | dict(table.columns))
        frames = [
            part.frame.select(pl.lit(recipe).alias(label), pl.all())
            for recipe, part in parts.items()
            if part.frame is not None
        ]
        reason = "; ".join(f"{recipe}: {part.reason}" for recipe, part in parts.items() if part.frame is None)
        result[name] = Made(whole, pl.concat(frames, how="vertical_relaxed") if frames else None, reason)
    return result


def make_all(tables: Sequence[Table[Read]], read: Read) -> dict[str, Made]:
    """Make every table of what was read, by name."""
    return {table.name: make(table, read) for table in tables}
