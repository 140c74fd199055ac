"""Transfer tables with made-up Δ, what plain pandas says of them, and a report of a store."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import polars as pl

from analysis.frames import KEYS, SOURCE, TARGET
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime

CELLS = [(t, lang) for t in ("a", "b", "c") for lang in ("de", "en", "es", "fr", "pt", "zh")]


def grid(seed: int = 0, models: int = 3, drop: float = 0.0, ties: bool = False) -> pl.DataFrame:
    """A transfer table with made-up Δ; `ties` rounds them to whole points so that −1 and 0 occur often."""
    rng = np.random.default_rng(seed)
    cells = [(t, lang) for t in ("a", "b", "c") for lang in ("de", "en", "fr", "zh")]
    rows = [
        (f"m{m}", (1.0, 3.0, 8.0)[m % 3], ("x", "y")[m % 2], *s, *t, float(rng.normal(0.4, 2)))
        for m in range(models)
        for s in cells
        for t in cells
        if rng.random() >= drop
    ]
    names = ["model", "model_size", "model_family", *SOURCE, *TARGET, "delta"]
    frame = with_regime(pl.DataFrame(rows, schema=names, orient="row"))
    return frame.with_columns(pl.col("delta").round(0)) if ties else frame


def effects(seed: int, models: int = 12) -> pl.DataFrame:
    """Δ with crossed effects of known variance: model 0.5, source 1, target 2, residual 1.5."""
    rng = np.random.default_rng(seed)
    frame = grid(models=models)
    sources = {c: rng.normal(0, 1) for c in itertools.product("abc", ("de", "en", "fr", "zh"))}
    targets = {c: rng.normal(0, 2**0.5) for c in sources}
    model = {f"m{m}": rng.normal(0, 0.5**0.5) for m in range(models)}
    delta = [
        1 + model[m] + sources[s, sl] + targets[t, tl] + rng.normal(0, 1.5**0.5)
        for m, s, sl, t, tl in frame.select(KEYS).rows()
    ]
    return frame.with_columns(pl.Series("delta", delta))


def planted(seed: int = 0, noise: float = 1.0) -> pl.DataFrame:
    """A full grid: effects of source and target, gains within a task and more so between Romance languages."""
    rng = np.random.default_rng(seed)
    give, take = ({c: rng.normal(0, 1) for c in CELLS} for _ in range(2))
    romance = {"es", "fr", "pt"}
    rows = []
    for s in CELLS:
        for t in CELLS:
            within = 4.0 * (s[0] == t[0]) + 3.0 * (s[0] == t[0] and {s[1], t[1]} <= romance)
            rows.append(("m", *s, *t, give[s] + take[t] + within + rng.normal(0, noise)))
    frame = with_regime(pl.DataFrame(rows, schema=[*KEYS, "delta"], orient="row"))
    return frame.with_columns(pl.lit(None, pl.Float64).alias("delta_se"))


def summed_up(delta: pd.Series) -> list[float]:
    """n, mean, median, positive-transfer rate and harm rate."""
    return [len(delta), delta.mean(), delta.median(), 100 * (delta > 0).mean(), 100 * (delta <= -1).mean()]


def study_of(transfer: pl.DataFrame) -> Study:
    """A study of which nothing but a transfer table is known."""
    return Study("made up", "nowhere", transfer)
