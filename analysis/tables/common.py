"""Two studies on what both have: the same cells of both, and how their configs differ.

Invariant: what is compared is compared on the same cells, per (model, source, target) where the studies share a model,
else per (source, target) after averaging over models. So no answer names what one of them does not contain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from analysis.frames import ALL_MODELS, KEYS, SOURCE, TARGET, Table, need
from analysis.reading.study import Study

Transfer = pl.DataFrame
Pair = tuple[Study, Study]  # this study, the other
PLACES = ("store", "study", "dashboard")  # keys that say where and under which name, not what
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


def compare_configs(pair: Pair) -> pl.DataFrame:
    """`key, here, there`: every key of the configs that differs; NotComputable where one has no config."""
    need(all(study.config for study in pair), "a published table has no config")
    here, there = (_flat(study.config) for study in pair)
    rows = [
        (key, here.get(key, "not set"), there.get(key, "not set"))
        for key in sorted(here.keys() | there.keys())
        if here.get(key) != there.get(key) and key.split(".")[0] not in PLACES
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("key", "here", "there"), pl.String), orient="row")


def _flat(config: Mapping[str, object], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = json.dumps(value, ensure_ascii=False, default=str)
    return found


TABLES: tuple[Table[Pair], ...] = (
    Table[Pair](
        "compare_configs",
        "What was done otherwise",
        "the configs of both",
        {"key": "key of the config", "here": "its value in this study", "there": "its value in the other"},
        compare_configs,
    ),
)
