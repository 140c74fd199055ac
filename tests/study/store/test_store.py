"""The store: done means written, readers never see half of anything, workers can share it."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.errors import ConfigError
from study.store import schema
from study.store.contents import Damaged
from study.store.layout import SCORES_INDEX, adapter_folder
from study.store.records import FailureRecord
from study.store.store import Store
from tests.support.rows import done_scores, record_of, score_row


def test_rows_come_back_and_a_pickled_store_is_the_same(tmp_path: Path) -> None:
    store = pickle.loads(pickle.dumps(Store(str(tmp_path / "s"))))
    assert store.scores().num_rows == 0
    store.append([], [score_row("a")])
    store.append([], [score_row("b")])
    assert done_scores(store) == {"a", "b"}
    assert Store(str(tmp_path / "s")).scores(["value"]).column_names == ["value"]


def test_a_home_folder_is_that_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store("~/s").uri == str(tmp_path / "s")


@pytest.mark.parametrize("change", [{"value": None}, {"extra": 1}, {"n_items": "many"}])
def test_ill_formed_rows_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    store = Store(str(tmp_path))
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        store.append([], [score_row(**change)])
    assert done_scores(store) == set()


def test_another_schema_version_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.append([], [score_row()])
    (part,) = (tmp_path / "results/scores").glob("*.parquet")
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({"kind": "scores", "version": "0"}), part)
    with pytest.raises(ValueError, match="version 0"):
        store.scores()


def test_bytes_come_back_whatever_a_file_is_called(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("logs/trace.json.gz", gzip.compress(b"x", mtime=0))
    assert store.read("logs/trace.json.gz") == gzip.compress(b"x", mtime=0)


def test_a_column_that_came_later_is_null_in_older_files(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.append([], [score_row("old")])
    (part,) = (tmp_path / "results/scores").glob("*.parquet")
    table = pq.read_table(part)
    pq.write_table(table.drop_columns(["stderr"]), part)
    store.append([], [score_row("new", stderr=0.5)])
    assert store.scores(["stderr", "score_id"]).sort_by("score_id").to_pylist() == [
        {"stderr": 0.5, "score_id": "new"},
        {"stderr": None, "score_id": "old"},
    ]
    assert store.scores().schema.names == schema.SCORES.names


def test_an_adapter_is_there_only_with_its_record(tmp_path: Path) -> None:
    store, local = Store(str(tmp_path / "store")), tmp_path / "local"
    local.mkdir()
    (local / "adapter_model.safetensors").write_bytes(b"weights")
    folder = adapter_folder("m", "t", "en", 17, "id1")
    store.write(f"{folder}/adapter_model.safetensors", b"half")
    assert store.records() == {}
    store.put_adapter(folder, local, record_of("id1"))
    assert store.records()["id1"].folder == folder
    assert (store.fetch_adapter(folder, tmp_path) / "adapter_model.safetensors").read_bytes() == b"weights"


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be read or written"):
        Store(str(tmp_path / "file" / "store")).check_writable()


def test_scores_are_looked_up_without_holding_all(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.append([], [score_row(name) for name in "abc"])
    assert store.scored_among(["a", "c", "d"]) == {"a", "c"}
    assert store.scored_among([]) == set()


def test_a_failure_that_is_cleared_while_failures_are_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, failure = Store(str(tmp_path)), FailureRecord("a", "u", "nan", "", 1)
    store.put_failure(failure)
    monkeypatch.setattr(Store, "files", lambda *_: ["failures/a.json", "failures/gone.json"])
    assert store.failures() == {"a": failure}


@pytest.mark.parametrize("at", [8, -20])
def test_a_damaged_part_is_named(tmp_path: Path, at: int) -> None:
    """pyarrow raises an OSError of its pages, and a ValueError of its end."""
    store = Store(str(tmp_path))
    store.append([], [score_row(f"{i}") for i in range(100)])
    (part,) = (tmp_path / "results/scores").glob("*.parquet")
    data = bytearray(part.read_bytes())
    data[at:] = bytes(len(data[at:])) if at < 0 else bytes(60) + data[at + 60 :]
    part.write_bytes(bytes(data))
    with pytest.raises(Damaged, match=part.name):
        store.scores()


@pytest.mark.parametrize("at", [0, 20, 40])
def test_an_index_with_a_damaged_footer_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """pyarrow raises an OSError of such bytes, as of a disk that fails."""
    monkeypatch.setattr("study.store.index.WORTH_IT", 0)
    store = Store(str(tmp_path))
    store.append([], [score_row("a")])
    store.write_indexes()
    (segment,) = (tmp_path / SCORES_INDEX).glob("*.parquet")
    data = bytearray(segment.read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[footer + at] ^= 255
    segment.write_bytes(bytes(data))
    assert done_scores(store) == {"a"}
