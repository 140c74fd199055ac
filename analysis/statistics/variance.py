"""How much of the spread of Δ is the model's, the source's and the target's.

Both tables fit Δ ~ 1 by restricted maximum likelihood (`reml`). `variance_nested` is what the reference study's code
fits: a random intercept per model, source and target as variance components within model. `variance_crossed` treats
model, source and target as crossed factors, each with effects of its own. Shares are of the sum of components, %;
their standard errors are the spread over refits to data simulated from the fit (parametric bootstrap).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.frames import SEED, SOURCE, TARGET, TRANSFER_REGIMES, NotComputable, Table, cell, transfer_rows
from analysis.reading.study import Study
from analysis.statistics.reml import Codes, blocks, fit, share_errors

DRAWS = 100
FACTORS = ("model", "source", "target")


def variance_crossed(transfer: pl.DataFrame, draws: int = DRAWS, seed: int = SEED) -> pl.DataFrame:
    """`scope, component, share, share_se` with model, source and target crossed."""
    return _scopes(transfer, False, draws, seed)


def variance_nested(transfer: pl.DataFrame, draws: int = DRAWS, seed: int = SEED) -> pl.DataFrame:
    """`scope, component, share, share_se` with source and target within model, as the reference study fits it."""
    return _scopes(transfer, True, draws, seed)


def _scopes(transfer: pl.DataFrame, nested: bool, draws: int, seed: int) -> pl.DataFrame:
    """Every scope that can be fitted; NotComputable when none can."""
    from threadpoolctl import threadpool_limits

    tables, reasons = [], []
    with threadpool_limits(1):  # the matrices are small: threads only get in each other's way
        for scope, regimes in (("overall", TRANSFER_REGIMES), *((r, (r,)) for r in TRANSFER_REGIMES)):
            try:
                tables.append(_scope(scope, transfer_rows(transfer, *regimes), nested, draws, seed))
            except NotComputable as why:
                reasons.append(f"{scope}: {why}")
    if not tables:
        raise NotComputable("; ".join(reasons))
    return pl.concat(tables)


def _codes(names: pl.Series) -> Codes:
    return names.rank("dense").cast(pl.Int64).to_numpy() - 1


def _scope(scope: str, rows: pl.DataFrame, nested: bool, draws: int, seed: int) -> pl.DataFrame:
    named = rows.select("model", cell(*SOURCE).alias("source"), cell(*TARGET).alias("target"), "delta").sort(FACTORS)
    codes = {name: _codes(named[name]) for name in FACTORS}
    used = [name for name in FACTORS if codes[name].max() > 0]
    y = named["delta"].to_numpy()
    levels = sum(int(codes[name].max()) + 1 for name in used)
    if len(y) <= levels + 1:
        raise NotComputable(f"{len(y)} rows are too few for {levels} levels of {', '.join(used) or 'no factor'}")
    if np.ptp(y) < 1e-9:
        raise NotComputable("every Δ is the same, there is no variance to share out")
    parts = blocks([codes[name] for name in used], codes["model"] if nested else None)
    at = fit(parts, y, len(used))
    errors = share_errors(parts, at, len(y), draws, seed) if draws > 1 else np.full(len(used) + 1, np.nan)
    found = {name: (float(at.shares[i]), float(errors[i])) for i, name in enumerate([*used, "residual"])}
    table = [(scope, name, *found.get(name, (None, None))) for name in (*FACTORS, "residual")]
    schema = {"scope": pl.String, "component": pl.String, "share": pl.Float64, "share_se": pl.Float64}
    return pl.DataFrame(table, schema=schema, orient="row").fill_nan(None)


_SHARE_WORDS = {
    "scope": "overall, MT-CL, CT-ML or CT-CL",
    "component": "model, source, target or residual",
    "share": "share of the variance, %; null for a factor with one level",
    "share_se": f"its standard error from {DRAWS} parametric-bootstrap refits, %",
}
TABLES = (
    Table[Study](
        "variance_crossed",
        "What decides Δ: model, source or target (crossed)",
        "transfer rows",
        _SHARE_WORDS,
        lambda study: variance_crossed(study.transfer),
    ),
    Table[Study](
        "variance_nested",
        "What decides Δ: source and target within model (as published)",
        "transfer rows",
        _SHARE_WORDS,
        lambda study: variance_nested(study.transfer),
    ),
)
