"""Who gives and who takes: donor and recipient scores of languages and of tasks.

donor(ℓ) is the mean over models of [mean Δ of that model's rows whose source has ℓ]; recipient(ℓ) the same by
target. Languages on MT-CL rows, tasks on CT-ML rows (arXiv 2511.13368). Standard errors are over models,
sd/√n_models, and null with one model. A joint source `en+de` is a donor of its own.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import Table, transfer_rows
from analysis.reading.study import Study


def language_roles(transfer: pl.DataFrame) -> pl.DataFrame:
    """`language, donor, donor_se, recipient, recipient_se, n_models` from MT-CL rows, best donor first."""
    return _roles(transfer_rows(transfer, "MT-CL"), "language")


def task_roles(transfer: pl.DataFrame) -> pl.DataFrame:
    """`task, donor, donor_se, recipient, recipient_se, n_models` from CT-ML rows, best donor first."""
    return _roles(transfer_rows(transfer, "CT-ML"), "task")


def per_model(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Mean Δ per (model, value of the column): `model, key, delta`."""
    return rows.group_by("model", pl.col(column).alias("key")).agg(pl.col("delta").mean()).sort("model", "key")


def _roles(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    sides = {}
    for side, column in (("donor", f"source_{kind}"), ("recipient", f"target_{kind}")):
        delta = pl.col("delta")
        sides[side] = (
            per_model(rows, column)
            .group_by(pl.col("key").alias(kind))
            .agg(
                delta.mean().alias(side),
                (delta.std() / delta.len().sqrt()).alias(f"{side}_se"),
                delta.len().cast(pl.Int64).alias(f"n_{side}"),
            )
        )
    both = sides["donor"].join(sides["recipient"], on=kind, how="full", coalesce=True)
    models = pl.max_horizontal("n_donor", "n_recipient").alias("n_models")
    table = both.select(kind, "donor", "donor_se", "recipient", "recipient_se", models)
    return table.sort("donor", kind, descending=[True, False], nulls_last=True)


_ROLE_WORDS = {
    "donor": "mean over models of the mean Δ of the rows that have it as source, pp",
    "donor_se": "standard error of donor over models, pp; null with one model",
    "recipient": "mean over models of the mean Δ of the rows that have it as target, pp",
    "recipient_se": "standard error of recipient over models, pp; null with one model",
    "n_models": "models averaged",
}
TABLES = (
    Table[Study](
        "language_roles",
        "Who gives and who takes: languages",
        "MT-CL rows",
        {"language": "language", **_ROLE_WORDS},
        lambda study: language_roles(study.transfer),
    ),
    Table[Study](
        "task_roles",
        "Who gives and who takes: tasks",
        "CT-ML rows",
        {"task": "task", **_ROLE_WORDS},
        lambda study: task_roles(study.transfer),
    ),
)
