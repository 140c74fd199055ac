"""Do the donors of translated benchmarks donate on curated ones too?

Spearman's correlation of language donor scores (MT-CL) computed on two disjoint sets of tasks: those whose items were
made or checked by people in each language, and those that were machine-translated (arXiv 2511.13368, where the
curated one is global_mmlu and the others are translated).

The two sets share neither items nor adapters, so noise draws the correlation towards 0. The *ceiling* is what it would
be if the same languages donated on both, given how much of the scores of either is noise (see `attenuation`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import CURATED, Table, need, transfer_rows
from analysis.inference.attenuation import means_of, reliability, spearman_ceiling
from analysis.inference.items import Singles
from analysis.reading.doubles import twice
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.roles import language_roles


def curated_vs_translated(
    transfer: pl.DataFrame, curated: Sequence[str] = CURATED, grids: Sequence[ModelGrid] = ()
) -> pl.DataFrame:
    """`curated, translated, spearman, ceiling, p_value, n_languages`; tasks that are not curated are the other set."""
    from scipy.stats import spearmanr

    rows = transfer_rows(transfer, "MT-CL")
    tasks = set(rows["target_task"])
    ours, others = sorted(tasks & set(curated)), sorted(tasks - set(curated))
    need(bool(ours), f"no task is known as curated (looked for {', '.join(curated)}); name them with --curated")
    need(bool(others), "every task is curated, there is nothing to compare with")
    sides = [
        language_roles(rows.filter(pl.col("target_task").is_in(group))).select("language", "donor").drop_nulls()
        for group in (ours, others)
    ]
    both = sides[0].join(sides[1], on="language", suffix="_other").sort("language")
    need(both.height >= 3, f"only {both.height} languages are donors in both sets")
    x, y = both["donor"].round(9), both["donor_other"].round(9)
    need(x.n_unique() > 1 and y.n_unique() > 1, "donor scores of one set are all equal")
    found = spearmanr(x, y)
    ceiling = _ceiling([(group, both["language"], side) for group, side in ((ours, x), (others, y))], grids)
    return pl.DataFrame(
        {
            "curated": [", ".join(ours)],
            "translated": [", ".join(others)],
            "spearman": [float(found.statistic)],
            "ceiling": pl.Series([ceiling], dtype=pl.Float64),
            "p_value": [float(found.pvalue)],
            "n_languages": [both.height],
        }
    )


def _ceiling(sides: Sequence[tuple[list[str], pl.Series, pl.Series]], grids: Sequence[ModelGrid]) -> float | None:
    """From the tasks of either side, its languages and their scores; None where items do not tell."""
    if not grids:
        return None
    whole = twice(grids).only("MT-CL")
    halves = whole.apart()
    found = []
    for tasks, languages, scores in sides:
        source = np.array([[name == language for _, name in whole.sources] for language in languages])
        target = np.array([[task in tasks for task, _ in whole.targets]])
        one, two = (_over_models(half, source, target) for half in halves)
        found.append(reliability(one, two, scores.to_numpy()))
    ceiling = spearman_ceiling(float(np.sqrt(found[0] * found[1])))
    return None if np.isnan(ceiling) else ceiling


def _over_models(half: Singles, source: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_]) -> Singles:
    """Donor scores B × L: the mean over models of the mean of each language's cells."""
    each = np.stack([means_of(half[:, m : m + 1], source, target)[:, :, 0] for m in range(half.shape[1])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(each, axis=0))


TABLES = (
    Table[Study](
        "curated_vs_translated",
        "Do the same languages donate on curated and on translated tasks",
        "MT-CL rows of two disjoint sets of tasks",
        {
            "curated": "tasks of the first set",
            "translated": "tasks of the second set",
            "spearman": "Spearman's correlation of language donor scores",
            "ceiling": "what it would be if the same languages donated on both, given the noise of items (of seeds, "
            "too, where every source has two); null where items are not known",
            "p_value": "its p-value",
            "n_languages": "languages that are donors in both",
        },
        lambda study: curated_vs_translated(study.transfer, study.curated, study.grids),
        how="Near 1, or near its ceiling, the ranking of donor languages does not depend on machine translation. A "
        "ceiling near 0 means that the scores of one set are all noise, and nothing can be told.",
    ),
)
