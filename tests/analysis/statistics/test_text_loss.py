"""Raw text: bits per byte of all texts together, its difference with an interval, and in no table of transfer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.reading.compositions import Compositions
from analysis.reading.study import Study, load_store
from analysis.statistics.graded import graded
from analysis.statistics.text_loss import COLUMNS, text_loss
from study.store.store import Store
from tests.support.synth import Shape, unit_rows

MODEL, ITEMS = ("tiny-1B", 1.0), 60
SOURCES = [("a", "de"), ("prose", "de")]
TARGETS = [("a", "de"), ("prose", "de")]
BYTES = np.random.default_rng(1).integers(20, 400, ITEMS)
GAIN = 0.15


def bits(source: tuple[str, str] | None, seed: int) -> np.ndarray:
    """Of each text: a module of the text tells it better, long texts most."""
    own = 1.5 + np.random.default_rng(2).normal(0, 0.2, ITEMS)
    noise = np.random.default_rng(seed).normal(0, 0.02, ITEMS)
    return own + noise - GAIN * (source == ("prose", "de")) * BYTES / BYTES.mean()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    shape, store = Shape(items=ITEMS), Store(str(tmp_path_factory.mktemp("texts")))
    for source, seed in ((None, None), *((source, seed) for source in SOURCES for seed in (1, 2))):
        items, scores = [], []
        for target in TARGETS:
            rows, found = unit_rows(shape, MODEL, source, seed, target)
            if target[0] == "prose":
                for row, size, value in zip(rows, BYTES, bits(source, seed or 0), strict=True):
                    row |= {"correct": None, "correct_norm": None, "pred": -1, "pred_norm": -1, "gold": -1}
                    row |= {"graded": -value, "graded_metric": "bits_per_byte", "option_chars": [int(size)]}
                    row |= {"loglikelihoods": [-value * math.log(2) * size]}
                found = [{**found[0], "metric": "bits_per_byte"}]
            items += rows
            scores += found
        store.append(items, scores)
    store.write("study.yaml", b"config: {study: texts, texts: [{name: prose, data: x}]}\n")
    return load_store(store.uri)


def test_it_is_the_log_likelihood_of_all_texts_over_their_bytes(study: Study) -> None:
    table = text_loss(study)
    assert table.columns == list(COLUMNS)
    rows = {row["source_task"]: row for row in table.iter_rows(named=True)}
    assert rows.keys() == {"a", "prose"}
    for source in SOURCES:
        row = rows[source[0]]
        before = np.average(bits(None, 0), weights=BYTES)
        after = np.mean([np.average(bits(source, seed), weights=BYTES) for seed in (1, 2)])
        assert row["base"] == pytest.approx(before, abs=1e-5)
        assert row["adapter"] == pytest.approx(after, abs=1e-5)
        assert row["difference"] == pytest.approx(after - before, abs=1e-5)
        assert row["low"] < row["difference"] < row["high"]
        assert (row["n_items"], row["n_seeds"]) == (ITEMS, 2)
    assert rows["prose"]["high"] < 0
    assert rows["a"]["low"] < 0 < rows["a"]["high"]


def test_texts_are_in_no_table_of_transfer(study: Study) -> None:
    assert set(study.transfer["target_task"]) == {"a"}
    with pytest.raises(NotComputable):
        graded(study)
    assert (4, "text_loss") in study.apart
    claims = study.scores.filter(pl.col("metric") == "bits_per_byte")["claims"].drop_nulls().unique().to_list()
    assert claims in ([], ["text_loss"])


@pytest.mark.parametrize("protocol", ["other_languages", "target"])
def test_a_grid_of_lambdas_has_a_row_for_each_where_none_is_chosen(study: Study, protocol: str) -> None:
    """Adapters of two sources stand for what is composed at two lambdas."""
    trained = study.units.filter(pl.col("kind") == "trained")
    at = {id: 0.5 + (task == "prose") for id, task in trained.select("adapter_id", "source_task").iter_rows()}
    named = pl.DataFrame(
        [
            {"adapter_id": id, "name": "mix", "model": MODEL[0], "seed": 1, "method": "sum", "strength": strength,
             "protocol": protocol, "language": None, "terms": [{"subject_id": "x", "source": "x", "weight": 1.0}]}
            for id, strength in at.items()
        ],
        schema_overrides={"language": pl.String},
    )  # fmt: skip
    units = study.units.with_columns(pl.col("kind").replace({"trained": "composed"}))
    found = Compositions(named, pl.DataFrame(), {})
    mixed, plain = text_loss(replace(study, units=units, compositions=found)), text_loss(study)
    assert mixed.select("source_task", "source_language").rows() == [("mix", "0.5"), ("mix", "1.5")]
    assert mixed["difference"].to_list() == plain.sort("source_task")["difference"].to_list()
    assert mixed["claim"].null_count() == plain["claim"].null_count() == 2  # of none is said that it was chosen
    searched = named.with_columns(
        pl.lit(None, pl.String).alias("protocol"), pl.lit("sum (searched)").alias("method"), strength=pl.lit(None)
    )
    found = replace(found, named=searched.with_columns(pl.col("strength").cast(pl.Float64)))
    assert set(text_loss(replace(study, units=units, compositions=found))["claim"]) == {"few-shot"}
