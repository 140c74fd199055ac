"""Figures that were published with the reference study's table, to check a table of its size against.

The figures are those of arXiv 2511.13368 on the study's release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from analysis.frames import SOURCE, TARGET
from analysis.reading.study import Study
from analysis.reading.transfer import MEASURES
from analysis.statistics.regimes import regime_summary

PUBLISHED_ROWS = 17_424
TASKS = frozenset({"arc_challenge", "global_mmlu", "hellaswag", "truthfulqa"})
PLAIN = ("global_mmlu", "truthfulqa")  # without acc_norm: score_norm is score
MODELS, CELLS, SEEDS = 9, 44, 3
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
    wrong += contradictions(transfer)
    for regime, values in KNOWN.items():
        row = summary.row(by_predicate=pl.col("regime") == regime, named=True)
        for name, value in values.items():
            if abs(row[name] - value) > TOLERANCE:
                wrong.append(f"{regime} {name} is {row[name]:.12g}, published {value:.12g}")
    if wrong:
        return ["This table has the size of the published grid but not its figures: " + "; ".join(wrong) + "."]
    count = sum(len(values) for values in KNOWN.values())
    told = f"All {count} known figures of the published grid are reproduced, each row is of {SEEDS} seeds"
    return [f"{told}, and the columns agree with one another to 1e-9."]


def contradictions(transfer: pl.DataFrame) -> list[str]:
    """Where a table of that size is no grid, or a column is not what the study's code makes it of the others."""
    axes = (["model"], MODELS), (SOURCE, CELLS), (TARGET, CELLS)
    found = [transfer.select(pl.struct(names).n_unique()).item() for names, _ in axes]
    shape = "{} models, {} sources and {} targets, published {}, {} and {}".format(*found, *(n for _, n in axes))
    said = [] if found == [n for _, n in axes] else [f"it is of {shape}"]
    for column, other in _made_of_others():
        off = transfer.filter((pl.col(column) - other).abs().fill_null(float("inf")) > TOLERANCE).height
        said += [f"{column} contradicts other columns in {off:,} of {transfer.height:,} rows"] if off else []
    return said


def _made_of_others() -> Iterator[tuple[str, pl.Expr]]:
    """Columns, and what each has to be: Δ of its scores, errors of spreads, one base, one score where acc is alone."""
    for kind in ("score", "score_norm"):
        yield f"delta_{kind}_mean", 100 * (pl.col(f"{kind}_mean") - pl.col(f"{kind}_base_mean"))
        for column in (f"{kind}_base_mean", f"{kind}_base_std"):
            yield column, pl.col(column).median().over("model", *TARGET)
    for measure in MEASURES:
        yield f"{measure}_se", pl.col(f"{measure}_std") / pl.col("n_seeds").sqrt()
    plain = pl.col("target_task").is_in(PLAIN)
    for measure in ("score", "score_base", "delta_score"):
        for part in ("mean", "std"):
            column = f"{measure.replace('score', 'score_norm')}_{part}"
            yield column, pl.when(plain).then(pl.col(f"{measure}_{part}")).otherwise(pl.col(column))


def not_comparable(pair: tuple[Study, Study]) -> str | None:
    """What to know where a study stands beside the published grid; None for any other two."""
    grids = [study.published and study.transfer.height == PUBLISHED_ROWS for study in pair]
    return NOT_COMPARABLE if any(grids) and not all(grids) else None


def with_known_values(study: Study) -> Study:
    """A published study with those sentences among its notes; any other as it is."""
    return replace(study, notes=(*study.notes, *known_values(study.transfer))) if study.published else study
