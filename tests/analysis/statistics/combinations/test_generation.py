"""What answers are like: read from the texts of the items, beside the metrics that the config asked for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from analysis.reading.study import load_store
from analysis.statistics.combinations.generation import COLUMNS, generation
from study.store.schema import COMPOSITIONS, SUBJECTS, TARGETS, table
from study.store.store import Store
from tests.support.synth import Shape, unit_rows

SHAPE = Shape(tasks=("sum",), languages=("de", "ru"), items=10)
MODEL, EN = SHAPE.models[0], ("sum", "de")
WRITTEN = {"base": "an answer", "source": "ответ", "mix": ""}


def test_empty_answers_their_length_and_their_script(tmp_path: Path) -> None:
    store, subjects = Store(str(tmp_path)), []
    for name, source, adapter in (("base", None, None), ("source", EN, None), ("mix", None, "mix")):
        seed = None if name == "base" else 1
        items, scores = [], []
        for language in SHAPE.languages:
            rows, (found, *_) = unit_rows(SHAPE, MODEL, source, seed, ("sum", language), adapter)
            for row in rows:
                text = WRITTEN[name] if row["doc_id"] else "  "
                row |= {"correct": None, "correct_norm": None, "graded": 0.3, "graded_metric": "rougeL", "pred": -1}
                row |= {"pred_norm": -1, "gold": -1, "loglikelihoods": [], "option_chars": [], "generation": text}
                row["cut_off"] = None if name == "base" else row["doc_id"] < 3
            shares = {"rougeL": 0.3, "script": 0.25 if name == "base" else 1.0}
            items += rows
            scores += [found | {"metric": m, "value": v, "headline": m == "rougeL"} for m, v in shares.items()]
        store.append(items, scores)
        about = scores[0] | {"model_size": 1.0, "model_family": "tiny"}
        subjects.append({field: about[field] for field in SUBJECTS.names})
    targets = [{"target_id": f"sum/{one}", "target_task": "sum", "target_language": one} for one in SHAPE.languages]
    named = {
        "adapter_id": "mix", "name": "mix", "model": MODEL[0], "seed": 1, "method": "sum (searched)", "strength": 0.5,
        "protocol": None, "language": None, "recipe": None,
        "terms": [{"subject_id": "x", "source": "sum/de", "weight": 1.0}],
    }  # fmt: skip
    store.write_grid(table(SUBJECTS, subjects), table(TARGETS, targets), compositions=table(COMPOSITIONS, [named]))
    found = generation(load_store(store.uri))
    assert found.columns == list(COLUMNS)
    assert found["subject"].to_list() == ["base", "mix (0.5)", "sum/de"] * 2
    rows = {row["subject"]: row for row in found.filter(pl.col("target_language") == "ru").iter_rows(named=True)}
    assert [rows[one]["empty"] for one in ("base", "sum/de", "mix (0.5)")] == pytest.approx([10.0, 10.0, 100.0])
    assert rows["base"]["length"] == pytest.approx(0.9 * len("an answer"))
    assert (rows["base"]["script"], rows["sum/de"]["script"], rows["base"]["rougeL"]) == pytest.approx((25, 100, 30))
    assert (rows["base"]["cut_off"], rows["sum/de"]["cut_off"]) == (None, 30.0)
    assert rows["base"]["rouge1"] is None
    assert [rows[one]["claim"] for one in ("base", "sum/de", "mix (0.5)")] == [None, None, "few-shot"]
