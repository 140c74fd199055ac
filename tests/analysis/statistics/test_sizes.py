"""Learning curves of other metrics: of a metric that is an accuracy by another name they are the accuracy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.frames import NotComputable
from analysis.reading.study import Study, load_store
from analysis.statistics.samples.corpus import corpus_curve
from analysis.statistics.samples.curves import learning_curve
from analysis.statistics.samples.graded import graded_curve
from analysis.tables.exclusion import without_unhealthy
from evaluators.items.bootstrap import draws
from study.store.store import Store
from tests.support.synth import Shape, unit_rows

SHAPE = Shape(seeds=(1, 2), items=60, normed=False)
MODEL = SHAPE.models[0]
SIZES = {20: 0.4, None: 1.0}
CELLS = [(task, language) for task in SHAPE.tasks for language in SHAPE.languages][:4]
KINDS = ("right", "graded", "corpus")


def written(kind: str, folder: Path) -> Study:
    store = Store(str(folder / kind))
    for source, seed in ((None, None), *((cell, seed) for cell in CELLS[:2] for seed in SHAPE.seeds)):
        for size, share in SIZES.items() if source else [(None, 1.0)]:
            items, scores = [], []
            for target in CELLS:
                base, found = unit_rows(SHAPE, MODEL, None, None, target)
                if source is not None:
                    rows, found = unit_rows(SHAPE, MODEL, source, seed if size is None else 100 * size + seed, target)
                    kept = np.random.default_rng([seed, len(target[1])]).random(len(rows)) < share
                    for row, untouched, learned in zip(rows, base, kept, strict=True):
                        row["correct"] = row["correct"] if learned else untouched["correct"]
                else:
                    rows = base
                for row in (*rows, *found):
                    row |= {"seed": seed, "source_size": size}
                items += [_as(kind, row) for row in rows]
                scores.append(found[0] | _score(kind, [row["correct"] for row in rows]))
            store.append([_bare(kind, row) for row in items], scores)
    store.write("study.yaml", b"config: {study: sizes}\n")
    return load_store(store.uri)


def _as(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    if kind != "graded":
        return row
    return row | {"graded": row["correct"], "graded_metric": "rouge1", "pred": -1, "pred_norm": -1, "gold": -1}


def _bare(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    nothing = {"correct": None, "correct_norm": None}
    return row if kind == "right" else row | nothing | ({"pred": -1, "gold": -1} if kind == "corpus" else {})


def _score(kind: str, right: list[float]) -> dict[str, Any]:
    if kind != "corpus":
        return {"metric": "acc" if kind == "right" else "rouge1", "headline": True}
    values = (draws(len(right)) @ np.array(right) / len(right)).tolist()
    about = {"metric": "f1", "value": float(np.mean(right)), "n_items": len(right), "higher_is_better": True}
    return about | {"replicates": values, "headline": True}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    folder = tmp_path_factory.mktemp("sizes")
    return {kind: written(kind, folder) for kind in KINDS}


def test_a_grade_of_right_and_wrong_has_the_accuracys_curve(studies: dict[str, Study]) -> None:
    expected, found = learning_curve(studies["right"]), graded_curve(studies["graded"])
    assert expected.height > 8
    assert set(found["metric"]) == {"rouge1"}
    assert set(found["unit"]) == {"points"}
    numbers = ("mean", "low", "high", "step", "step_low", "step_high", "q_worse", "q_better")
    for column in numbers:
        assert found[column].to_list() == pytest.approx(expected[column].to_list(), nan_ok=True, abs=1e-3)


def test_so_has_a_metric_of_all_items_but_for_the_chance_of_its_draws(studies: dict[str, Study]) -> None:
    key = ["of", "source_task", "source_language", "regime", "sample", "n_cells"]
    found = corpus_curve(studies["corpus"]).sort(key)
    expected = learning_curve(studies["right"]).sort(key)
    assert found.select(key).equals(expected.select(key))
    assert found["mean"].to_list() == pytest.approx(expected["mean"].to_list(), abs=1e-4)
    steps = [(one, other) for one, other in zip(found["step"], expected["step"], strict=True) if other is not None]
    assert [one for one, _ in steps] == pytest.approx([other for _, other in steps], abs=1e-4)
    widths = [(frame["step_high"] - frame["step_low"]).drop_nulls().to_numpy() for frame in (found, expected)]
    assert 0.7 < np.median(widths[0] / widths[1]) < 1.5


def test_what_is_in_neither_is_said_and_samples_are_counted(studies: dict[str, Study]) -> None:
    apart = {kind: {table: n for n, table in study.apart} for kind, study in studies.items()}
    samples = 2 * len(SHAPE.seeds) * len(CELLS)
    assert apart["right"]["learning_curve"] == samples
    assert (apart["graded"]["graded_curve"], apart["graded"].get("learning_curve")) == (samples, None)
    assert (apart["corpus"]["corpus_curve"], apart["corpus"].get("learning_curve")) == (samples, None)
    assert not any("in no learning curve" in why and n for study in studies.values() for n, why in study.excluded)
    for kind, made in (("right", graded_curve), ("right", corpus_curve), ("graded", corpus_curve)):
        with pytest.raises(NotComputable, match="no source has samples"):
            made(studies[kind])
    assert without_unhealthy(studies["graded"]).apart is not None
