"""Do the donors of translated benchmarks donate on curated ones too?

Spearman's correlation of language donor scores (MT-CL) computed on two disjoint sets of tasks: those whose items were
made or checked by people in each language, and those that were machine-translated (arXiv 2511.13368, where the
curated one is global_mmlu and the others are translated).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.frames import CURATED, Table, need, transfer_rows
from analysis.reading.study import Study
from analysis.statistics.roles import language_roles


def curated_vs_translated(transfer: pl.DataFrame, curated: Sequence[str] = CURATED) -> pl.DataFrame:
    """`curated, translated, spearman, p_value, n_languages`; all tasks that are not curated are the other set."""
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
    return pl.DataFrame(
        {
            "curated": [", ".join(ours)],
            "translated": [", ".join(others)],
            "spearman": [float(found.statistic)],
            "p_value": [float(found.pvalue)],
            "n_languages": [both.height],
        }
    )


TABLES = (
    Table[Study](
        "curated_vs_translated",
        "Do the same languages donate on curated and on translated tasks",
        "MT-CL rows of two disjoint sets of tasks",
        {
            "curated": "tasks of the first set",
            "translated": "tasks of the second set",
            "spearman": "Spearman's correlation of language donor scores",
            "p_value": "its p-value",
            "n_languages": "languages that are donors in both",
        },
        lambda study: curated_vs_translated(study.transfer, study.curated),
        how="Near 1, the ranking of donor languages does not depend on machine translation.",
    ),
)
