"""How much of the spread of Δ is the model's, the source's and the target's.

`variance_noiseless` takes the noise of items and seeds out (`analysis/inference/components.py`): what is left to a
factor is its own. It is the one to read where items are known.

The other two leave noise in, which looks like an effect of the target, whose cells share the base's items: a grid
without any effect shows 61 % "target". They are what a table of means alone allows. Both fit Δ ~ 1 by restricted
maximum likelihood (`reml`). `variance_nested` is what the reference study's code fits: a random intercept per model,
source and target as variance components within model. `variance_crossed` treats model, source and target as crossed
factors, each with effects of its own. Shares are of the sum of components, %; their standard errors are the spread over
refits to data simulated from the fit (parametric bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from itertools import product

import numpy as np
import polars as pl

from analysis.frames import SEED, SOURCE, TARGET, TRANSFER_REGIMES, NotComputable, Table, cell, need, transfer_rows
from analysis.inference.components import Shares, shares
from analysis.reading.doubles import Twice, twice
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.significance import NO_ITEMS
from analysis.statistics.variance.reml import Codes, blocks, fit, share_errors

DRAWS = 100
FACTORS = ("model", "source", "target")
SCOPES: dict[str, tuple[str, ...]] = {"overall": TRANSFER_REGIMES}
SCOPES |= {name: (name,) for name in TRANSFER_REGIMES}
MEASUREMENT = "measurement"
LEAST_LEFT = 1e-6  # of the variance of Δ, as a residual


def variance_noiseless(grids: Sequence[ModelGrid]) -> pl.DataFrame:
    """`scope, component, variance, share, share_se` without the noise of items and seeds, which is a row of its own."""
    need(bool(grids), NO_ITEMS)
    whole = twice(grids)
    tables = [_without_noise(scope, whole.only(*regimes)) for scope, regimes in SCOPES.items()]
    found = [table for table in tables if table.height]
    need(bool(found), "there are too few sources or targets to tell them apart, or nothing varies")
    return pl.concat(found)


def _without_noise(scope: str, part: Twice) -> pl.DataFrame:
    """Components of one scope; no rows where it has too few cells to tell them apart, or does not vary."""
    several = all((~np.isnan(part.printed).all(axis=axes)).sum() > 1 for axes in ((0, 2), (0, 1)))
    schema = dict.fromkeys(("scope", "component"), pl.String) | dict.fromkeys(
        ("variance", "share", "share_se"), pl.Float64
    )
    if not several or not np.nanvar(part.printed) > 0:
        return pl.DataFrame(schema=schema)
    found: Shares = shares(part.data, part.printed)
    if any(np.isnan(value) for value in found.variance.values()):
        return pl.DataFrame(schema=schema)
    rows = [
        (scope, " × ".join(name for name in FACTORS if name in factors), found.variance[factors], found.share[factors],
         found.share_se[factors])
        for factors in found.variance
    ]  # fmt: skip
    rows.append((scope, MEASUREMENT, found.measurement, 100 * found.measurement / found.total, float("nan")))
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)


def variance_crossed(transfer: pl.DataFrame, draws: int = DRAWS, seed: int = SEED) -> pl.DataFrame:
    """`scope, component, share, share_se` with model, source and target crossed."""
    return _scopes(transfer, False, draws, seed)


def variance_nested(
    transfer: pl.DataFrame, draws: int = DRAWS, seed: int = SEED, curated: Sequence[str] = ()
) -> pl.DataFrame:
    """`scope, component, share, share_se` with source and target within model, as the reference study fits it.

    As there, also of the rows that have a curated task at either end, and of those that have none.
    """
    tables = [_scopes(transfer, True, draws, seed)]
    either = pl.any_horizontal(pl.col(f"{end}_task").is_in(list(curated)) for end in ("source", "target"))
    for (scope, regimes), (which, rows) in product(SCOPES.items(), (("with", either), ("without", ~either))):
        part = transfer.filter(rows)
        if curated and 0 < part.height < transfer.height:
            with suppress(NotComputable):
                tables.append(_scope(f"{scope}, {which} curated", transfer_rows(part, *regimes), True, draws, seed))
    return pl.concat(tables)


def _scopes(transfer: pl.DataFrame, nested: bool, draws: int, seed: int) -> pl.DataFrame:
    """Every scope that can be fitted; NotComputable when none can."""
    tables, reasons = [], []
    for scope, regimes in SCOPES.items():
        try:
            tables.append(_scope(scope, transfer_rows(transfer, *regimes), nested, draws, seed))
        except NotComputable as why:
            reasons.append(f"{scope}: {why}")
    if not tables:
        raise NotComputable("; ".join(reasons))
    return pl.concat(tables)


def _one_thread() -> AbstractContextManager[object]:
    """The matrices are small: threads only get in each other's way, those of every library that is loaded by then."""
    import scipy.optimize  # noqa: F401
    from threadpoolctl import threadpool_limits

    limited: AbstractContextManager[object] = threadpool_limits(1)
    return limited


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
    with _one_thread():
        at = fit(parts, y, len(used))
        if not at.residual > LEAST_LEFT * float(y.var()):
            raise NotComputable(
                f"{', '.join(used)} leave nothing of Δ over: there is no residual to tell their shares by"
            )
        errors = share_errors(parts, at, len(y), draws, seed) if draws > 1 else np.full(len(used) + 1, np.nan)
    found = {name: (float(at.shares[i]), float(errors[i])) for i, name in enumerate([*used, "residual"])}
    table = [(scope, name, *found.get(name, (None, None))) for name in (*FACTORS, "residual")]
    schema = {"scope": pl.String, "component": pl.String, "share": pl.Float64, "share_se": pl.Float64}
    return pl.DataFrame(table, schema=schema, orient="row").fill_nan(None)


_SHARE_WORDS = {
    "scope": "overall, MT-CL, CT-ML or CT-CL; nested also each with and without a curated task at either end",
    "component": "model, source, target or residual",
    "share": "share of the variance, %; null for a factor with one level",
    "share_se": f"its standard error from {DRAWS} parametric-bootstrap refits, %",
}
TABLES = (
    Table[Study](
        "variance_noiseless",
        "What decides Δ: model, source or target, without noise",
        "transfer rows, from their items",
        {
            "scope": "overall, MT-CL, CT-ML or CT-CL",
            "component": "model, source, target, their interactions (a × b), and measurement: noise of items and seeds",
            "variance": "variance component, pp²; unbiased, so where there is nothing it is below 0 as often as above",
            "share": "its share of the variance of the printed Δ, %; a target's luck is in both, so where there is "
            "nothing shares lie below 0 on average, and components do not",
            "share_se": "standard error of the share over models, sources and targets, %",
        },
        lambda study: variance_noiseless(study.singles.grids),
    ),
    Table[Study](
        "variance_crossed",
        "What decides Δ: model, source or target (crossed; noise left in)",
        "transfer rows",
        _SHARE_WORDS,
        lambda study: variance_crossed(study.singles.transfer),
    ),
    Table[Study](
        "variance_nested",
        "What decides Δ: source and target within model (as the reference study fits it; noise left in)",
        "transfer rows",
        _SHARE_WORDS,
        lambda study: variance_nested(study.singles.transfer, curated=study.curated),
    ),
)
