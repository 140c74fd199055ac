"""Figures that were published with the reference study's table, to check a table of its size against.

The figures are those of arXiv 2511.13368 on the study's release.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from analysis.reading.study import Study
from analysis.statistics.regimes import regime_summary

PUBLISHED_ROWS = 17_424
KNOWN: dict[str, dict[str, float]] = {
    "all": {"n": 17_028, "mean": 0.8935821392, "median": 0.25, "positive_rate": 59.6781771, "harm_rate": 9.0850364},
    "MT-ML": {"n": 396, "mean": 2.0202020202, "positive_rate": 68.1818182, "harm_rate": 9.3434343},
    "MT-CL": {"n": 3_960, "mean": 1.2464646465, "positive_rate": 66.4141414, "harm_rate": 7.1212121},
    "CT-ML": {"n": 1_188, "mean": 0.8077300786, "positive_rate": 56.9023569, "harm_rate": 11.3636364},
    "CT-CL": {"n": 11_880, "mean": 0.7845398429, "positive_rate": 57.7104377, "harm_rate": 9.5117845},
}


def known_values(transfer: pl.DataFrame) -> list[str]:
    """Sentences that say whether the published grid gives the figures that were published with it.

    Empty for a table of another size than the published one (17,424 rows).
    """
    if transfer.height != PUBLISHED_ROWS:
        return []
    summary = regime_summary(transfer)
    wrong = []
    for regime, values in KNOWN.items():
        row = summary.row(by_predicate=pl.col("regime") == regime, named=True)
        for name, value in values.items():
            if abs(row[name] - value) > 1e-6:
                wrong.append(f"{regime} {name} is {row[name]:.10g}, published {value:.10g}")
    if wrong:
        return ["This table has the size of the published grid but not its figures: " + "; ".join(wrong) + "."]
    count = sum(len(values) for values in KNOWN.values())
    return [f"All {count} known figures of the published grid are reproduced."]


def with_known_values(study: Study) -> Study:
    """A published study with those sentences among its notes; any other as it is."""
    return replace(study, notes=(*study.notes, *known_values(study.transfer))) if study.published else study
