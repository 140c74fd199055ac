"""What every column of every table means, in the order of the columns.

`python -m analysis.tables.columns` prints it for the documentation.
"""

from __future__ import annotations

DELTA = "mean Δ, pp"
KEY_DOCS = {
    "model": "model name",
    "model_size": "billions of parameters",
    "model_family": "model family",
    "source_task": "task trained on",
    "source_language": "language trained on",
    "target_task": "task scored on",
    "target_language": "language scored on",
    "regime": "MT-ML, MT-CL, CT-ML or CT-CL",
}
RATE_DOCS = {
    "n": "rows of the transfer table",
    "mean": DELTA,
    "median": "median Δ, pp",
    "positive_rate": "share of rows with Δ > 0, %",
    "harm_rate": "share of rows with Δ ≤ −1.0 pp, %",
}
ROLE_DOCS = {
    "donor": "mean over models of the mean Δ of the rows that have it as source, pp",
    "donor_se": "standard error of donor over models, pp; null with one model",
    "recipient": "mean over models of the mean Δ of the rows that have it as target, pp",
    "recipient_se": "standard error of recipient over models, pp; null with one model",
    "n_models": "models averaged",
}
SHARE_DOCS = {
    "scope": "overall, MT-CL, CT-ML or CT-CL",
    "component": "model, source, target or residual",
    "share": "share of the variance, %; null for a factor with one level",
    "share_se": "its standard error from 100 parametric-bootstrap refits, %",
}
KEY_ONLY = {k: v for k, v in KEY_DOCS.items() if k not in ("model_size", "model_family")}
MATRIX_DOCS = {"source": "source", "target": "target", "delta": DELTA}


def _measures() -> dict[str, str]:
    what = {
        "score": "score, proportion",
        "score_base": "score of the base, proportion",
        "score_norm": "length-normalised score, proportion",
        "score_norm_base": "the same of the base, proportion",
        "delta_score": "100 × (score − base), pp",
        "delta_score_norm": "100 × (normalised score − base), pp",
    }
    stats = {"mean": "mean over seeds", "std": "sample standard deviation over seeds"}
    docs = {f"{m}_{s}": f"{words}: {kind}" for m, words in what.items() for s, kind in stats.items()}
    return docs | {f"{m}_se": f"{words}: standard error over seeds" for m, words in what.items()}


COLUMNS: dict[str, dict[str, str]] = {
    "transfer": KEY_DOCS
    | {
        "delta": "headline Δ: 100 × (score_norm − base score_norm), pp, mean over seeds",
        "delta_sd": "its sample standard deviation over seeds, pp; null with one seed",
        "delta_se": "its standard error over seeds, pp; null with one seed",
        "n_seeds": "seeds averaged",
        "n_items": "items that adapter and base share, the smallest over seeds",
    }
    | _measures(),
    "regime_summary": {"regime": "all, MT-ML, MT-CL, CT-ML or CT-CL"} | RATE_DOCS,
    "language_roles": {"language": "language"} | ROLE_DOCS,
    "task_roles": {"task": "task"} | ROLE_DOCS,
    "task_matrix": MATRIX_DOCS,
    "language_matrix": MATRIX_DOCS,
    "matrix": MATRIX_DOCS
    | {k: v for k, v in KEY_DOCS.items() if not k.startswith("model")}
    | {"n_models": "models averaged", "harmed": "models in which this cell is harmed (Δ ≤ −1.0 pp)"},
    "pareto": {k: KEY_DOCS[k] for k in ("model", "source_task", "source_language")}
    | {
        "on_task": "mean Δ over MT-CL targets, pp",
        "off_task": "mean Δ over targets of other tasks, pp",
        "harm_rate": "share of the latter with Δ ≤ −1.0 pp, %",
        "on_frontier": "no other source of the model is better on both",
    },
    "on_off_task": {"source_task": "task trained on", "side": "on_task (MT-CL) or off_task (CT-ML and CT-CL)"}
    | {k: v for k, v in RATE_DOCS.items() if k != "median"},
    "harm_breakdown": {"group": "target_language, target_task, size or model_family", "value": "its value"}
    | {k: v for k, v in RATE_DOCS.items() if k != "median"},
    "significance": KEY_ONLY
    | {
        "delta": "headline Δ, pp",
        "low": "2.5th percentile of Δ over 10,000 draws of items and seeds, pp",
        "high": "97.5th percentile, pp",
        "gains": "items that the adapter gets right and the base does not, over all seeds",
        "losses": "items that the base gets right and the adapter does not, over all seeds",
        "p_value": "McNemar's exact test, two-sided",
        "q_value": "Benjamini–Hochberg q-value over all rows of the model",
        "harmed": "Δ ≤ −1.0 pp and q ≤ 0.05",
        "n_items": "items that adapter and base share, the smallest over seeds",
        "n_seeds": "seeds pooled",
    },
    "rank_stability": {
        "kind": "language or task",
        "role": "donor or recipient",
        "name": "the language or task",
        "estimate": "its score, pp, as in language_roles and task_roles",
        "low": "2.5th percentile over 1,000 draws of items, seeds and models, pp",
        "high": "97.5th percentile, pp",
        "p_top3": "share of draws in which it is among the three highest",
        "n_models": "models averaged",
    },
    "kendall_w": {
        "kind": "language or task",
        "role": "donor or recipient",
        "w": "Kendall's W of the rankings over models, 0 (none) to 1 (full agreement), corrected for ties",
        "p_value": "permutation p-value, 10,000 reorderings within models",
        "n_models": "models that rank",
        "n_ranked": "languages or tasks ranked in every model",
        "n_left_out": "those that some model lacks",
    },
    "consistency": {
        "axis": "what is compared: model, family or size",
        "regime": "MT-CL, CT-ML or CT-CL",
        "median": "median over sources of the Consistency Index (mean Kendall τ-b of pairs), −1 to 1",
        "q1": "lower quartile",
        "q3": "upper quartile",
        "n_sources": "sources that have an index",
    },
    "variance_crossed": SHARE_DOCS,
    "variance_nested": SHARE_DOCS,
    "asymmetry": {
        "matrix": "language, task or cell",
        "share": "antisymmetric share of the off-diagonal variance, %; 0 symmetric, 50 unrelated, 100 opposite",
        "n": "rows of the matrix",
        "note": "why there is no share",
    },
    "linguistic": {
        "distance": "URIEL vector: syntax_knn, phonology_knn or inventory_knn; cosine distance",
        "spearman": "Spearman's correlation of Δ with distance",
        "pearson": "Pearson's correlation",
        "mantel_p": "Mantel permutation p-value of Pearson's",
        "mantel_p_spearman": "Mantel permutation p-value of Spearman's",
        "n_pairs": "language pairs",
        "n_languages": "languages with known vectors",
        "unknown_languages": "languages without",
    },
    "curated_vs_translated": {
        "curated": "tasks of the first set",
        "translated": "tasks of the second set",
        "spearman": "Spearman's correlation of language donor scores",
        "p_value": "its p-value",
        "n_languages": "languages that are donors in both",
    },
    "health": {k: KEY_DOCS[k] for k in ("model", "target_task", "target_language")}
    | {
        "check": "what is wrong",
        "value": "the number behind it: a p-value, a share in %, or a count",
        "detail": "in words",
    },
    "compare_conclusions": {
        "conclusion": "what is asked of each study",
        "here": "the answer of this study: yes, no, or a name",
        "there": "the answer of the other",
        "holds": "whether they agree; null where either is not known",
    },
    "compare_regimes": {
        "regime": "all, MT-ML, MT-CL, CT-ML or CT-CL",
        "n": "cells both have",
        "here": "mean Δ of this study, pp",
        "there": "mean Δ of the other, pp",
        "difference": "here − there, pp",
        "harm_here": "harm rate of this study, %",
        "harm_there": "harm rate of the other, %",
    },
    "compare_matrices": {
        "matrix": "language, task or cell",
        "n_cells": "off-diagonal cells both have",
        "pearson": "Pearson's correlation of the two matrices",
        "spearman": "Spearman's correlation",
        "mantel_p": "Mantel permutation p-value of Pearson's",
        "mean_difference": "mean of here − there, pp",
    },
    "compare_roles": {
        "kind": "language or task",
        "role": "donor or recipient",
        "name": "the language or task",
        "here": "its score in this study, pp",
        "there": "its score in the other, pp",
        "difference": "here − there, pp",
    },
    "compare_transfer": KEY_ONLY
    | {
        "here": "Δ of this study, pp; averaged over models when the studies share none",
        "there": "Δ of the other, pp",
        "difference": "here − there, pp",
    },
}


def markdown() -> str:
    """Every table's columns as Markdown, for `docs/report.md`."""
    parts = []
    for name, columns in COLUMNS.items():
        rows = "".join(f"| `{column}` | {what} |\n" for column, what in columns.items())
        parts.append(f"### `{name}`\n\n| column | meaning |\n|---|---|\n{rows}")
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown(), end="")
