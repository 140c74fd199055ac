"""The numbers that pages here quote, kept beside them: columns of a report's tables, digits as far as they are quoted.

    python docs/results.py runs/compositions/report compositions

writes docs/results/compositions/*.csv. `tests/test_results.py` holds the pages to these files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

FOLDER = Path(__file__).parent / "results"
CELL = ["target_task", "target_language", "metric"]
SIDES = [f"{side}{end}" for side in ("own", "on_task", "off_task") for end in ("", "_beside", "_more", "_low", "_high")]
ADDS = [f"{number}{end}" for number in ("pearson_clean", "slope", "rmse_clean") for end in ("", "_low", "_high")]
KEPT = {
    "compositions": [
        *("recipe", "name", "method", "lambda", *CELL, "delta", "low", "high", "gain_part", "gain_part_low"),
        *("gain_part_high", "gain_donor", "gain_donor_low", "gain_donor_high", "truncation"),
    ],
    "additivity": ["metric", "method", "regime", "n", *ADDS],
    "geometry": ["name", "lambda", "part", "other", "cosine", "norm_ratio", "sign_conflicts", "metric", "residual"],
    "lambda_curve": ["name", "lambda", *CELL, "test", "chosen", "hindsight"],
    "graded": ["recipe", "source_task", "source_language", *CELL, "delta", "low", "high"],
    "schedules": ["recipe", "source", "metric", "beside", "tokens", "beside_tokens", "about", *SIDES],
}


def main(report: Path, name: str) -> None:
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    for table, columns in KEPT.items():
        file = report / "tables" / f"{table}.parquet"
        if file.exists():
            frame = pl.read_parquet(file)
            kept = frame.select(column for column in columns if column in frame.columns)
            kept.with_columns(pl.col(pl.Float64).round(3)).write_csv(FOLDER / name / f"{table}.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
