"""A study of several recipes as one study for each: no table ever takes two recipes for seeds, sources or models.

What is of no recipe, the bases and adapters that were trained elsewhere, is in each of them. An adapter that two
recipes come to is in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analysis.reading.panels import Panel
from analysis.reading.transfer import transfer
from study.errors import ConfigError

if TYPE_CHECKING:
    from analysis.reading.study import Study


@dataclass(frozen=True)
class Across:
    """All recipes of a study: each as a `study` of its own by name, and the units and items of all in `whole`.

    `adapters` names those of each recipe. The `whole` has no transfer table, which would mix them.
    """

    whole: Study
    adapters: Mapping[str, frozenset[str]]
    studies: Mapping[str, Study]


def divided(whole: Study, named: pl.DataFrame) -> Study:
    """The study of the first recipe, with the others `across`; where there is but one, the study as it is.

    `named` is as study.store.schema.RECIPES has it.
    """
    of = {str(name): frozenset(part["adapter_id"]) for (name,), part in named.group_by("recipe", maintain_order=True)}
    if not of:
        return whole
    others = {name: frozenset().union(*of.values()) - mine for name, mine in of.items()}
    studies = {name: _without(whole, others[name], name) for name in of}
    across = Across(replace(whole, transfer=whole.transfer.clear()), of, studies)
    return replace(next(iter(studies.values())), across=across)


def one_of(study: Study, name: str | None) -> Study:
    """The study of a recipe. Raises ConfigError where it is not named though there are several, or there is none."""
    known = list(study.across.studies) if study.across else []
    if name is None and len(known) < 2:
        return study
    if study.across is None or name not in known:
        problem = "the study has one recipe" if not known else f"the study has the recipes {', '.join(known)}"
        raise ConfigError("--recipe", name, problem, "name one of them" if known else "leave it out")
    return study.across.studies[name]


def _without(whole: Study, others: frozenset[str], name: str) -> Study:
    """What is left of a study without the adapters of other recipes."""
    units = whole.units.filter(pl.col("adapter_id").is_null() | ~pl.col("adapter_id").is_in(list(others)))
    kept = units["unit"].to_numpy()
    scores = whole.scores.join(units, on="unit", how="semi", maintain_order="left")
    made = whole.compositions
    if made is not None:
        rows = (frame.filter(~pl.col("adapter_id").is_in(list(others))) for frame in (made.named, made.held_out))
        named, held_out = rows
        named = named.filter(pl.col("recipe").is_null() | (pl.col("recipe") == name))
        made = replace(made, named=named, held_out=held_out) if named.height else None
    return replace(
        whole,
        recipe=name,
        transfer=transfer(units.filter(pl.col("kind") == "trained"), whole.joint),
        units=units,
        panels=tuple(_only(panel, kept) for panel in whole.panels),
        graded=tuple(_only(panel, kept) for panel in whole.graded),
        bare=tuple(_only(panel, kept) for panel in whole.bare),
        texts=tuple(_only(panel, kept) for panel in whole.texts),
        scores=scores,
        compositions=made,
    )


def _only(panel: Panel, units: np.ndarray) -> Panel:
    """The rows of some units; the base's stays the first."""
    kept = np.isin(panel.units, units)
    rows = {name: getattr(panel, name)[kept] for name in ("units", "correct", "norm", "pred")}
    return replace(panel, **rows)
