"""Figures that were published with the reference study's table, to check a table of its size against.

The figures are those of arXiv 2511.13368 on the study's release.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from analysis.reading.study import Study
from analysis.statistics.regimes import regime_summary

PUBLISHED_ROWS = 17_424
TASKS = frozenset({"arc_challenge", "global_mmlu", "hellaswag", "truthfulqa"})
SEEDS = 3
TOLERANCE = 1e-9  # that of the study's own validator
NOT_COMPARABLE = (
    "The published table’s three seeds seem to be three samples of items, of which one is public; its authors’ own "
    "lm-eval tasks are not. So single cells cannot be reproduced, and a base’s spread over seeds is not what it is "
    "here. What compares is Δ against the base of the same items: regimes, roles, matrices."
)
KNOWN: dict[str, dict[str, float]] = {
    "all": {
        "n": 17_028,
        "mean": 0.8935821392216741,
        "median": 0.2499999999999983,
        "positive_rate": 59.67817712003759,
        "harm_rate": 9.085036410617805,
    },
    "MT-ML": {
        "n": 396,
        "mean": 2.0202020202020203,
        "positive_rate": 68.18181818181817,
        "harm_rate": 9.343434343434344,
    },
    "MT-CL": {
        "n": 3_960,
        "mean": 1.2464646464646463,
        "positive_rate": 66.41414141414141,
        "harm_rate": 7.121212121212121,
    },
    "CT-ML": {
        "n": 1_188,
        "mean": 0.8077300785634120,
        "positive_rate": 56.90235690235690,
        "harm_rate": 11.363636363636363,
    },
    "CT-CL": {
        "n": 11_880,
        "mean": 0.7845398428731761,
        "positive_rate": 57.71043771043771,
        "harm_rate": 9.511784511784512,
    },
}


def known_values(transfer: pl.DataFrame) -> list[str]:
    """Sentences that say whether the published grid gives the figures that were published with it.

    A table of another size than the published one (17,424 rows) is told to be so where it is of its four tasks; of
    other tasks there is nothing to say.
    """
    if transfer.height != PUBLISHED_ROWS:
        is_of_it = set(transfer["source_task"]) == set(transfer["target_task"]) == TASKS
        size = f"This table has {transfer.height:,} rows, the published grid has {PUBLISHED_ROWS:,}"
        return [f"{size}: its known figures cannot be checked."] if is_of_it else []
    summary = regime_summary(transfer)
    seeds = transfer.filter(pl.col("n_seeds") != SEEDS).height
    wrong = [f"{seeds:,} rows are not of {SEEDS} seeds"] if seeds else []
    for regime, values in KNOWN.items():
        row = summary.row(by_predicate=pl.col("regime") == regime, named=True)
        for name, value in values.items():
            if abs(row[name] - value) > TOLERANCE:
                wrong.append(f"{regime} {name} is {row[name]:.12g}, published {value:.12g}")
    if wrong:
        return ["This table has the size of the published grid but not its figures: " + "; ".join(wrong) + "."]
    count = sum(len(values) for values in KNOWN.values())
    return [f"All {count} known figures of the published grid are reproduced, each row is of {SEEDS} seeds."]


def not_comparable(pair: tuple[Study, Study]) -> str | None:
    """What to know where a study stands beside the published grid; None for any other two."""
    grids = [study.published and study.transfer.height == PUBLISHED_ROWS for study in pair]
    return NOT_COMPARABLE if any(grids) and not all(grids) else None


def with_known_values(study: Study) -> Study:
    """A published study with those sentences among its notes; any other as it is."""
    return replace(study, notes=(*study.notes, *known_values(study.transfer))) if study.published else study
