"""Reading a store: de-duplication, older configs, missing bases, existing adapters; the rest recomputed in pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.reading.study import Study, load_store
from study.errors import ConfigError
from study.store.store import Store
from tests.support.synth import Shape, unit_rows, write_store

SMALL = Shape(items=12)


def by_hand(store: Store) -> pd.DataFrame:
    """Transfer rows from the item rows, in plain pandas."""
    items = store.items().to_pandas().drop_duplicates(["score_id", "doc_id"])
    items["norm"] = items["correct_norm"].fillna(items["correct"]).astype(float)
    base = items[items["adapter_id"].isna()][["model", "target_task", "target_language", "doc_id", "norm"]]
    both = items[items["source_task"].notna()].merge(
        base, on=["model", "target_task", "target_language", "doc_id"], suffixes=("", "_base")
    )
    keys = ["model", "source_task", "source_language", "target_task", "target_language"]
    seeds = both.groupby([*keys, "seed"])[["norm", "norm_base"]].mean()
    delta = (100 * (seeds["norm"] - seeds["norm_base"])).groupby(keys)
    return pd.DataFrame({"delta": delta.mean(), "sd": delta.std(), "n_seeds": delta.size()}).reset_index()


def compare(study: Study, expected: pd.DataFrame) -> None:
    ours = study.transfer.to_pandas()
    both = ours.merge(expected, on=["model", "source_task", "source_language", "target_task", "target_language"])
    assert len(both) == len(ours) == len(expected)
    np.testing.assert_allclose(both["delta_x"], both["delta_y"], atol=1e-8)
    np.testing.assert_allclose(both["delta_sd"], both["sd"], atol=1e-8)
    np.testing.assert_array_equal(both["n_seeds_x"], both["n_seeds_y"])
    np.testing.assert_allclose(both["delta_se"], both["sd"] / np.sqrt(both["n_seeds_y"]), atol=1e-8)


def test_transfer_table_equals_pandas(study: Study, store_path: Path) -> None:
    compare(study, by_hand(Store(str(store_path))))
    assert study.excluded == ()
    assert study.done == study.expected


def test_missing_units_lower_n_seeds_and_are_counted(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SMALL, drop=range(0, 12, 5))
    study = load_store(str(tmp_path / "s"))
    compare(study, by_hand(store))
    assert study.transfer["n_seeds"].min() == 1
    assert study.expected == study.done + 3
    assert (3, "score units of the config that are not done") in study.excluded


def test_a_unit_that_ran_twice_counts_once(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SMALL)
    before = load_store(str(tmp_path / "s"))
    items, scores = unit_rows(SMALL, SMALL.models[0], ("names", "de"), 1, ("numbers", "en"))
    store.append(items, scores)
    after = load_store(str(tmp_path / "s"))
    assert after.transfer.equals(before.transfer)
    assert after.done == before.done


def test_rows_of_an_older_config_are_ignored_and_counted(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SMALL)
    before = load_store(str(tmp_path / "s"))
    old = Shape(items=12, seed=99)
    for target in (("names", "de"), ("numbers", "en")):
        store.append(*unit_rows(old, old.models[0], ("names", "de"), 1, target))
    after = load_store(str(tmp_path / "s"))
    assert after.transfer.equals(before.transfer)
    assert (2, "score units of an older config, ignored") in after.excluded
    assert any(n == 24 and "item rows" in why for n, why in after.excluded)


def test_existing_adapters_without_a_source_are_left_out_but_counted(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SMALL, grid=False)
    before = load_store(str(tmp_path / "s"))
    for name in ("ready-1", "ready-2"):
        store.append(*unit_rows(SMALL, SMALL.models[0], None, None, ("names", "de"), adapter_id=name))
    after = load_store(str(tmp_path / "s"))
    assert after.transfer.equals(before.transfer)
    assert (2, "existing") in after.apart


def test_a_target_without_a_base_score_has_no_delta_and_is_counted(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    target = ("names", "de")
    store.append(*unit_rows(SMALL, SMALL.models[0], ("names", "en"), 1, target))
    study = load_store(str(tmp_path / "s"))
    assert study.transfer.height == 0
    assert any(n == 1 and "without a base score" in why for n, why in study.excluded)


def test_scores_without_normalised_accuracy_use_plain_accuracy(tmp_path: Path) -> None:
    write_store(tmp_path / "s", Shape(items=12, normed=False))
    study = load_store(str(tmp_path / "s"))
    assert (study.transfer["score_mean"] == study.transfer["score_norm_mean"]).all()
    assert (study.transfer["delta"] == study.transfer["delta_score_mean"]).all()


def test_only_items_that_the_base_has_count(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    base, base_scores = unit_rows(SMALL, SMALL.models[0], None, None, ("names", "de"))
    items, scores = unit_rows(SMALL, SMALL.models[0], ("names", "en"), 1, ("names", "de"))
    store.append(base[:8], base_scores)
    store.append(items[2:], scores)
    study = load_store(str(tmp_path / "s"))
    shared = range(2, 8)
    expected = 100 * (
        np.mean([items[i]["correct_norm"] for i in shared]) - np.mean([base[i]["correct_norm"] for i in shared])
    )
    assert study.transfer["n_items"].to_list() == [6]
    assert study.transfer["delta"].to_list() == pytest.approx([expected])


def test_a_folder_that_is_no_store_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no study"):
        load_store(str(tmp_path))


def test_a_store_of_another_version_is_a_clear_error(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SMALL)
    relative = store.files("results/items", ".parquet")[0]
    table = pq.read_table(store.path(relative))
    pq.write_table(table.replace_schema_metadata({b"version": b"0"}), store.path(relative))
    with pytest.raises(ConfigError, match="schema version 0"):
        load_store(str(tmp_path / "s"))


def test_items_whose_pages_are_damaged_are_named_with_the_way_to_repair_them(tmp_path: Path) -> None:
    """The footer is whole, so that it shows only where rows are read."""
    store = write_store(tmp_path / "s", SMALL)
    relative = store.files("results/items", ".parquet")[0]
    data = bytearray(store.read(relative))
    column = pq.ParquetFile(store.path(relative)).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    Path(store.path(relative)).write_bytes(data)
    with pytest.raises(ConfigError, match="holds a damaged file") as raised:
        load_store(str(tmp_path / "s"))
    assert relative in str(raised.value)
    assert "study.check" in str(raised.value)


def test_two_adapters_of_a_source_without_a_seed_are_two(tmp_path: Path) -> None:
    """Others trained them: each is a measurement of its source, and neither takes the other's place."""
    store, source, target = Store(str(tmp_path / "s")), ("names", "de"), ("names", "en")
    store.append(*unit_rows(SMALL, SMALL.models[0], None, None, target))
    for name, seed in (("ready-1", 1), ("ready-2", 2)):
        made = unit_rows(SMALL, SMALL.models[0], source, seed, target)
        store.append(*([row | {"adapter_id": name, "seed": None, "score_id": name} for row in rows] for rows in made))
    study = load_store(str(tmp_path / "s"))
    one = study.grids[0]
    assert study.transfer["n_seeds"].to_list() == one.grid.n_seeds.ravel().tolist() == [2]
    assert one.adapter.tolist() == [0, 0]
    assert study.transfer["delta"].to_list() == pytest.approx(one.grid.delta.ravel().tolist(), abs=1e-5)
    halves = (one.one + one.two) / 2
    assert halves.mean(axis=(0, 1)).tolist() == pytest.approx(study.transfer["delta"].to_list(), abs=1e-4)


@pytest.mark.parametrize("normed", [True, False])
def test_the_option_chosen_is_that_of_the_accuracy_that_the_task_has(normed: bool, tmp_path: Path) -> None:
    """One without a length-normalised accuracy was said to answer alike where its normalised options were."""
    shape = Shape(items=6, normed=normed)
    items, scores = unit_rows(shape, shape.models[0], None, None, ("names", "de"))
    store = Store(str(tmp_path))
    store.append([row | {"pred": 1, "pred_norm": 2} for row in items], scores)
    (panel,) = load_store(store.uri).asked
    assert panel.pred[0].tolist() == [2 if normed else 1] * 6
