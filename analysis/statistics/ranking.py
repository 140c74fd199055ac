"""Do models agree on who gives? Kendall's W of donor and recipient rankings over models.

W = 12 S / (m²(n³ − n) − m ΣT), S the sum of squared deviations of the rank sums, T = Σ(t³ − t) over each model's ties
(Kendall and Gibbons 1990, ch. 6). Its p-value is the share of 10,000 random reorderings within models that reach W,
the observed one included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SEED, NotComputable, Table, need, transfer_rows
from analysis.reading.study import Study
from analysis.statistics.roles import per_model

Array = npt.NDArray[np.float64]
PERMUTATIONS = 10_000


def concordance(values: Array) -> float:
    """W of M raters × N objects; NaN when every rater ties every object."""
    from scipy.stats import rankdata

    return float(_concordance(rankdata(values, axis=1)[None])[0])


def _concordance(ranks: Array) -> Array:
    """W of each of B sets of M × N ranks."""
    _, m, n = ranks.shape
    sums = ranks.sum(axis=1)
    spread = ((sums - sums.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    # within one rater Σ rank² = n(n+1)(2n+1)/6 − T/12, so the ties follow from the ranks
    ties = m * n * (n + 1) * (2 * n + 1) * 2 - 12 * (ranks**2).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(12 * spread / (m**2 * (n**3 - n) - m * ties))


def permutation_p(values: Array, permutations: int, seed: int) -> float:
    """Share of reorderings within raters whose W reaches the observed one."""
    from scipy.stats import rankdata

    rng = np.random.default_rng(seed)
    ranks = rankdata(values, axis=1)
    observed = _concordance(ranks[None])[0]
    reached = 0
    for start in range(0, permutations, 1000):
        size = min(1000, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(ranks, (size, *ranks.shape)), axis=2)
        reached += int((_concordance(shuffled) >= observed - 1e-12).sum())
    return (1 + reached) / (1 + permutations)


def kendall_w(transfer: pl.DataFrame, permutations: int = PERMUTATIONS, seed: int = SEED) -> pl.DataFrame:
    """`kind, role, w, p_value, n_models, n_ranked, n_left_out`.

    Languages on MT-CL rows and tasks on CT-ML rows, as `language_roles` and `task_roles`; what some model lacks is
    left out and counted.
    """
    rows, reasons = [], []
    for kind, regime in (("language", "MT-CL"), ("task", "CT-ML")):
        for role, end in (("donor", "source"), ("recipient", "target")):
            try:
                values, left_out = _complete(per_model(transfer_rows(transfer, regime), f"{end}_{kind}"))
            except NotComputable as why:
                reasons.append(f"{kind}s: {why}")
                continue
            w = concordance(values)
            if np.isfinite(w):
                p = permutation_p(values, permutations, seed)
                rows.append((kind, role, w, p, *values.shape, left_out))
            else:
                reasons.append(f"{kind}s: every model ties all of them")
    need(bool(rows), "; ".join(dict.fromkeys(reasons)))
    columns = ["kind", "role", "w", "p_value", "n_models", "n_ranked", "n_left_out"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _complete(means: pl.DataFrame) -> tuple[Array, int]:
    """Models × keys of mean Δ for keys that every model has, and how many keys were left out."""
    models = means["model"].n_unique()
    need(models >= 2, "agreement needs at least two models")
    everywhere = means.group_by("key").len().filter(pl.col("len") == models)["key"]
    need(len(everywhere) >= 2, "fewer than two are there in every model")
    kept = means.filter(pl.col("key").is_in(everywhere.implode())).sort("model", "key")
    values = kept["delta"].round(9).to_numpy().reshape(models, len(everywhere))
    return values, means["key"].n_unique() - len(everywhere)


TABLES = (
    Table[Study](
        "kendall_w",
        "Do models agree on who gives",
        "MT-CL rows (languages) and CT-ML rows (tasks)",
        {
            "kind": "language or task",
            "role": "donor or recipient",
            "w": "Kendall's W of the rankings over models, 0 (none) to 1 (full agreement), corrected for ties",
            "p_value": f"permutation p-value, {PERMUTATIONS:,} reorderings within models",
            "n_models": "models that rank",
            "n_ranked": "languages or tasks ranked in every model",
            "n_left_out": "those that some model lacks",
        },
        lambda study: kendall_w(study.singles.transfer),
        how="W is 1 when every model ranks donors (or recipients) alike and near 0 when they do not agree; the "
        "p-value says how often chance alone would reach it.",
    ),
)
