"""Two studies on what both have: the same cells of both, and how their configs differ.

Invariant: what is compared is compared on the same cells, per (model, source, target) where the studies share a model,
else per (source, target) after averaging over models. So no answer names what one of them does not contain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import polars as pl

from analysis.frames import ALL_MODELS, KEYS, SOURCE, TARGET, Table, need
from analysis.inference.paired import mean_difference
from analysis.reading.study import Study

Transfer = pl.DataFrame
Pair = tuple[Study, Study]  # this study, the other
HOW_IT_RAN = (
    "store",
    "study",
    "dashboard",
    "track",
    "training",
    "evaluators",
    "failures",
    "assumed",
)  # decides no result
NOT_SET = "not set"
NOTHING = ("null", "false", "[]", "{}")  # as good as not set: older versions lack keys that newer ones write so
UNKNOWN = "null where items are not known, or models are averaged"
NO_CELLS = "the two studies have no source and target cell in common"


def on_common_cells(pair: Pair) -> tuple[Transfer, Transfer]:
    """The rows of either transfer table whose cell the other has too, in the same order; NotComputable without any."""
    here, there = (study.transfer.filter(pl.col("delta").is_not_null()) for study in pair)
    if not set(here["model"]) & set(there["model"]):
        here, there = _over_models(here), _over_models(there)
    sides = [
        one.join(other.select(KEYS), on=KEYS, how="semi").sort(KEYS) for one, other in ((here, there), (there, here))
    ]
    need(sides[0].height > 0, NO_CELLS)
    return sides[0], sides[1]


def _over_models(transfer: Transfer) -> Transfer:
    cell = [*SOURCE, *TARGET, "regime"]
    means = [pl.col(name).mean() for name in ("delta", "delta_score_mean") if name in transfer.columns]
    lacking = {"model_size": pl.Float64, "model_family": pl.String, "delta_se": pl.Float64}
    return (
        transfer.group_by(cell)
        .agg(means)
        .with_columns(
            pl.lit(ALL_MODELS).alias("model"), *(pl.lit(None, kind).alias(name) for name, kind in lacking.items())
        )
    )


def paired(rows: pl.DataFrame) -> dict[str, float | None]:
    """`low, high, p` of the mean difference, models averaged first; None where they cannot be told."""
    from scipy.stats import t

    cells = rows.group_by(*SOURCE, *TARGET).agg(pl.col("difference").mean())
    row, column = (
        cells.select(pl.struct(end).rank("dense") - 1).to_series().cast(pl.Int64).to_numpy() for end in (SOURCE, TARGET)
    )
    grid = np.full((row.max() + 1, column.max() + 1), np.nan)
    grid[row, column] = cells["difference"].to_numpy()
    found = mean_difference(grid)
    ends = [float(one[0]) for one in (found.low, found.high)]
    p = float(2 * t.sf(abs(found.value[0] / found.se[0]), found.df[0])) if found.se[0] > 0 else np.nan
    return {name: None if np.isnan(one) else one for name, one in zip(("low", "high", "p"), (*ends, p), strict=True)}


def compare_configs(pair: Pair) -> pl.DataFrame:
    """`key, here, there`: every key that decides results and differs; NotComputable where one has no config.

    A task, a model or the like that only one of them has is one row.
    """
    need(all(study.config for study in pair), "a published table has no config")
    here, there = (_flat(study.config) for study in pair)
    alone = ({_entry(key) for key in here} ^ {_entry(key) for key in there}) - {""}
    here, there = (
        {entry if (entry := _entry(key)) in alone else key: "set" if entry in alone else text for key, text in side}
        for side in (here.items(), there.items())
    )
    rows = [
        (key, here.get(key, NOT_SET), there.get(key, NOT_SET))
        for key in sorted(here.keys() | there.keys())
        if _differ(here.get(key), there.get(key)) and key.split(".")[0] not in HOW_IT_RAN
    ]
    need(bool(rows), "their configs ask for the same")
    return pl.DataFrame(rows, schema=dict.fromkeys(("key", "here", "there"), pl.String), orient="row")


def _entry(key: str) -> str:
    """The named part of a list that a key is of, such as tasks[sums]; nothing of other keys."""
    return key[: key.index("]") + 1] if "]" in key else ""


def _differ(one: str | None, other: str | None) -> bool:
    """Whether two values do; None is of a key that is not there."""
    return one != other and not (None in (one, other) and {one, other} & set(NOTHING))


def _flat(value: object, key: str = "") -> dict[str, str]:
    """Every key of a config with its value as JSON; what lists name by `name` or `id` is told by that."""
    if isinstance(value, Mapping):
        parts = [_flat(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()]
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        names = [one.get("name") or one.get("id") or number for number, one in enumerate(value)]
        parts = [_flat(inner, f"{key}[{name}]") for name, inner in zip(names, value, strict=True)]
    else:
        return {key: json.dumps(value, ensure_ascii=False, default=str)}
    return {name: text for part in parts for name, text in part.items()}


def compare_extent(pair: Pair) -> pl.DataFrame:
    """`what, here, there, both`: how many models, sources, targets and cells either study has, and both."""
    sides = [study.transfer.filter(pl.col("delta").is_not_null()) for study in pair]
    columns = {"models": ["model"], "sources": SOURCE, "targets": TARGET, "cells": KEYS}
    rows = []
    for what, names in columns.items():
        here, there = (set(one.select(names).iter_rows()) for one in sides)
        rows.append((what, len(here), len(there), len(here & there)))
    schema = {"what": pl.String} | dict.fromkeys(("here", "there", "both"), pl.Int64)
    return pl.DataFrame(rows, schema=schema, orient="row")


TABLES: tuple[Table[Pair], ...] = (
    Table[Pair](
        "compare_configs",
        "What was done otherwise",
        "the configs of both, without what says where and how they ran",
        {"key": "key of the config", "here": "its value in this study", "there": "its value in the other"},
        compare_configs,
    ),
    Table[Pair](
        "compare_extent",
        "What both have",
        "the transfer tables of both",
        {
            "what": "models, sources, targets, or cells: a model's source and target",
            "here": "how many this study has",
            "there": "how many the other has",
            "both": "how many both have; where they share no model, Δ is compared after averaging over models",
        },
        compare_extent,
    ),
)
