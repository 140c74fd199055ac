"""Writers that are killed at any moment: whatever stands in the store then, its readers see what is right."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import time
from pathlib import Path

import pyarrow as pa
import pytest

from study.check import main
from study.store import compaction, index, schema
from study.store.compaction import compact
from study.store.layout import ITEMS as ITEM_PARTS
from study.store.layout import OPEN, STUDY_FILE, SWAPS, adapter_folder, rows_in
from study.store.store import Store
from tests.support.rows import item_row, record_of, score_row

ITEMS, GRID = 2000, 300  # rows: a part, and a list of the grid


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an index is renewed, and segments and large parts become part of others, every moment."""
    monkeypatch.setattr(index, "WORTH_IT", 2)
    monkeypatch.setattr(index, "MOST_FILES", 7)
    monkeypatch.setattr(compaction, "ROWS", 5 * ITEMS)


def _grid(version: int) -> tuple[pa.Table, pa.Table]:
    targets = [{"target_id": f"t{i}", "target_task": str(version), "target_language": "en"} for i in range(GRID)]
    return schema.SUBJECTS.empty_table(), schema.table(schema.TARGETS, targets)


def _write_for_ever(uri: str, scratch: str, start: int) -> None:
    store, local = Store(uri), Path(scratch)
    for n in range(start, start + 1_000_000):
        name = f"{n:08d}"
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            (local / file).write_bytes(os.urandom(30_000))
        folder = adapter_folder("m", "t", "en", n, name)
        store.put_adapter(folder, local, record_of(name, steps=n))
        store.append([item_row(name, i) for i in range(ITEMS)], [score_row(name, n_items=ITEMS)])
        if n % 3 == 0:
            store.put_adapter(folder, local, record_of(name, steps=-n))  # one that is trained again
        store.write_indexes()
        if n % 4 == 0:
            compact(store, lambda _: None)
        store.write_grid(*_grid(n))


def _look(store: Store) -> int:
    """Assert that all of a store is consistent, with its indexes and without; how many scores there are."""
    for adapter_id, record in store.records().items():
        assert adapter_id == f"{abs(record.course.steps):08d}"
    scores, items = store.scores(), store.items(["score_id", "doc_id"])
    done = scores.column("score_id").to_pylist()
    assert len(done) == len(set(done))
    assert set(done) <= store.trained().keys()
    counts = items.group_by("score_id").aggregate([("doc_id", "count_distinct")]).to_pydict()
    of_score = dict(zip(counts["score_id"], counts["doc_id_count_distinct"], strict=True))
    assert set(of_score.values()) <= {ITEMS}
    assert set(done) <= of_score.keys()
    if (grid := store.read_grid()) is not None:
        assert grid[1].num_rows == GRID
        assert len(set(grid[1].column("target_task").to_pylist())) == 1
    return len(done)


def _assert_indexes_say_what_the_files_say(store: Store) -> None:
    records, scores = store.records(), store.scores().sort_by("score_id")
    for segment in store.files("index", ".parquet", recursive=True):
        store.delete(segment)
    assert store.records() == records
    assert store.scores().sort_by("score_id").equals(scores)
    for record in records.values():
        for name, stated in record.files.items():
            assert hashlib.sha256(store.read(f"{record.folder}/{name}")).hexdigest() == stated.sha256


def test_writers_killed_at_any_moment_leave_what_readers_can_trust(tmp_path: Path) -> None:
    store, scratch, seed = Store(str(tmp_path / "store")), tmp_path / "scratch", random.randrange(1 << 32)
    print(f"seed {seed}")
    draw, before = random.Random(seed), 0
    scratch.mkdir()
    store.write(STUDY_FILE, b"config: {}")
    for number in range(12):
        arguments = store.uri, str(scratch), number * 1000
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=arguments, daemon=True)
        writer.start()
        try:
            deadline = time.monotonic() + 120
            while (seen := _look(Store(store.uri))) < before + 2:  # readers look while it writes
                assert writer.is_alive()
                assert time.monotonic() < deadline
            time.sleep(draw.uniform(0, 0.2))
        finally:
            writer.kill()
            writer.join()
        before = _look(Store(store.uri))
        assert before >= seen
    assert before >= 24
    assert main([store.uri, "--repair"]) == 0
    assert _look(store) == before
    assert store.files(SWAPS, OPEN) == []
    assert any(rows_in(part) for part in store.parts(ITEM_PARTS))
    _assert_indexes_say_what_the_files_say(store)
