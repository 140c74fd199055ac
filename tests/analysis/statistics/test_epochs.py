"""When harm begins, on a world of known truth: every epoch is called by its own, and none that is not harmed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.page.charts.curves import training
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.epochs import epochs
from study.store.course import Epoch
from tests.support.rows import record_of

CELLS = [("a", "de"), ("a", "en"), ("b", "de"), ("b", "en")]
SEEDS, KEPT, EPOCHS, ITEMS = (1, 2, 3), 2, 4, 300
LOSS = {1: 0.0, 2: 0.0, 3: 0.15, 4: 0.3}  # of what task a teaches on task b, after each epoch


def shown(seed: int, loss: dict[int, float]) -> Study:
    """Adapters of every cell and seed, all of whose epochs are scored; that of the kept one is the adapter itself."""
    rng = np.random.default_rng(seed)
    subjects = [(None, 0, 0), *((cell, one, epoch) for cell in CELLS for one in SEEDS for epoch in loss)]
    rows: list[dict[str, object]] = []
    panels = []
    for target in CELLS:
        base = rng.random(ITEMS) < 0.6
        right = np.zeros((len(subjects), ITEMS), np.float32)
        for i, (source, _, epoch) in enumerate(subjects):
            flips = rng.random(ITEMS) < (0.04 if source else 0)
            right[i] = np.where(flips, rng.random(ITEMS) < 0.6, base)
            if source and source[0] == "a" and target[0] == "b":
                right[i][rng.random(ITEMS) < loss[epoch]] = 0.0
        units = np.arange(len(rows), len(rows) + len(subjects))
        for source, one, epoch in subjects:
            kind = "base" if source is None else "trained" if epoch == KEPT else "epoch"
            name = None if source is None else f"{'/'.join(source)} {one}" + f" {epoch}" * (kind == "epoch")
            rows.append({
                "adapter_id": name, "model": "m", "source_task": source and source[0], "seed": one or None,
                "source_language": source and source[1], "source_size": None, "target_task": target[0],
                "target_language": target[1], "kind": kind, "epoch": epoch if kind == "epoch" else None,
            })  # fmt: skip
        panels.append(Panel(
            "m", *target, units, np.arange(ITEMS), "", right, right, np.zeros(right.shape, np.int16),
            np.zeros(ITEMS, np.int64), np.full(ITEMS, 4), tuple(map(str, range(ITEMS))),
        ))  # fmt: skip
    frame = (
        pl.DataFrame(rows, infer_schema_length=None)
        .with_row_index("unit")
        .cast({"unit": pl.Int64, "source_size": pl.Int64})
    )
    course = tuple(Epoch(k, 1.0, 1.0, 0.1, 10 * k, 100 * k) for k in loss)
    known = [record_of(f"{'/'.join(cell)} {one}", source=["/".join(cell)], seed=one) for cell in CELLS for one in SEEDS]
    records = tuple(replace(one, course=replace(one.course, epochs=course, best_epoch=KEPT)) for one in known)
    return Study("known", "", pl.DataFrame(), units=frame, panels=tuple(panels), records=records)


def test_harm_is_called_from_the_epoch_on_in_which_it_begins() -> None:
    found = epochs(shown(1, LOSS))
    cells = found.filter(pl.col("family") == "cell")
    assert cells.height == EPOCHS * len(CELLS) ** 2
    assert cells["n_seeds"].unique().to_list() == [len(SEEDS)]
    hurt = (pl.col("source_task") == "a") & (pl.col("target_task") == "b")
    assert set(cells.filter(hurt)["first_harm"]) <= {3, 4}
    assert cells.filter(hurt, pl.col("epoch") == 4)["harmed"].all()
    assert not cells.filter(~hurt)["harmed"].any()
    assert not cells.filter(hurt, pl.col("epoch") < 3)["harmed"].any()
    seen = cells.select("epoch", "steps", "tokens", "kept").unique().sort("epoch").rows()
    assert seen == [(k, 10 * k, 100 * k, len(SEEDS) * (k == KEPT)) for k in LOSS]
    means = found.filter(pl.col("family") == "regime", pl.col("regime") == "CT-CL")
    assert means["n_cells"].to_list() == [4] * EPOCHS
    assert means["first_harm"].unique().to_list() in ([3], [4])
    assert training(found) is not None


def test_epochs_without_harm_are_rarely_called_harmed() -> None:
    tables = [epochs(shown(seed, dict.fromkeys(LOSS, 0.0))) for seed in range(12)]
    assert sum(bool(table["harmed"].any()) for table in tables) <= 1
    assert sum(bool(table.filter(pl.col("family") == "cell")["worse"].any()) for table in tables) <= 3


def test_without_epochs_it_says_why() -> None:
    study = shown(1, LOSS)
    alone = replace(study, units=study.units.filter(pl.col("kind") != "epoch"))
    with pytest.raises(NotComputable, match="score_epochs"):
        epochs(alone)
