"""Checkpoints as the store has them: found while they are written anew, and no loss when they are damaged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from orchestrator.training.checkpoints import HEAD, begun, file_of
from study.store.store import Store
from tests.support.buckets import BUCKET, proxy, replaced_after_it_is_opened, s3_server
from trainers.checkpoint import Checkpoint, MemberState


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with s3_server() as port, proxy(port) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield Store(f"s3://{BUCKET}/checkpoints")


def checkpoint(names: list[str], step: int = 1, epochs: int = 1) -> bytes:
    """Its header grows with its epochs, as a real one's does."""
    books = {"failure": None, "_epochs": [{"epoch": i, "train_loss": 1.0} for i in range(epochs)]}
    states = {name: MemberState(books, torch.zeros(3, 4), {"a": torch.ones(2)}) for name in names}
    return Checkpoint(step, 1.5, (), states).to_bytes(rows=None)


@pytest.mark.processes
def test_a_checkpoint_that_is_renewed_meanwhile_is_found(bucket: Store) -> None:
    short, long = checkpoint(["a", "b"], 1), checkpoint(["a", "b"], 2, epochs=400)
    for old, new in ((short, long), (long, short)):
        bucket.write(file_of(["a", "b"]), old)
        replaced_after_it_is_opened(bucket, lambda new=new: Store(bucket.uri).write(file_of(["a", "b"]), new))  # type: ignore[misc]
        (found,) = begun(bucket)
        assert found.members == {"a", "b"}


@pytest.mark.parametrize("data", [b"", b"1234", b"\xff" * 4000, (9).to_bytes(8, "little") + b"{}", None, b'{"a": 1}'])
def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path, data: bytes | None) -> None:
    store, whole = Store(str(tmp_path)), checkpoint(["a"])
    store.write(file_of(["a"]), whole)
    store.write(file_of(["b"]), whole[:-30][:200] if data is None else data)
    assert [found.file for found in begun(store)] == [file_of(["a"])]
    assert Checkpoint.if_whole(store.read(file_of(["b"]))) is None
    assert Checkpoint.if_whole(whole) is not None
    assert Checkpoint.if_whole(whole[:-4]) is None  # whose header is whole


def test_a_header_of_any_length_is_read(tmp_path: Path) -> None:
    store, names = Store(str(tmp_path)), [f"{i:016x}" for i in range(3000)]
    data = checkpoint(names)
    assert int.from_bytes(data[:8], "little") > 2 * HEAD
    store.write(file_of(names), data)
    (found,) = begun(store)
    assert found.members == frozenset(names)


def test_checkpoints_that_others_delete_are_no_failure(tmp_path: Path) -> None:
    """Two trials look through the checkpoints, a third writes and all three delete them."""
    store, done = Store(str(tmp_path)), threading.Event()
    data = Checkpoint(1, 0.0, (), {}).to_bytes(rows=None)

    def write_and_delete() -> None:
        for i in range(400):
            store.write(file_of([str(i % 3)]), data)
            store.delete(file_of([str(i % 3)]))
        done.set()

    def look_and_delete() -> int:
        seen = 0
        while not done.is_set():
            for checkpoint in begun(store):
                seen += 1
                store.delete(checkpoint.file)
        return seen

    with ThreadPoolExecutor() as trials:
        looking = [trials.submit(look_and_delete) for _ in range(2)]
        trials.submit(write_and_delete).result()
        assert sum(trial.result() for trial in looking) > 0
