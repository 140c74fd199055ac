"""One process per machine fills a cache; a file system that gives no locks is named with what to do."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest
from filelock import FileLock

from orchestrator.failures import kind_of
from study import pulse
from study.faults.kinds import TRANSIENT
from study.faults.network import Unreachable
from study.models.hub import beating, one_per_node, refused


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    with one_per_node("data x"):
        pass
    monkeypatch.setattr(fcntl, "flock", no_locks)
    says = rf"HF_HOME = {tmp_path}.*no locks.*set HF_HOME to a folder on a local disk"
    with pytest.raises(Unreachable, match=says) as caught, one_per_node("data x"):
        pass
    assert kind_of(caught.value) == TRANSIENT


def test_a_library_that_finds_no_locks_there_is_told_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    with pytest.raises(Unreachable, match="set HF_HOME"), one_per_node("data x"):
        no_locks()
    with pytest.raises(FileNotFoundError), one_per_node("data x"):
        (tmp_path / "none").read_text()


def test_who_waits_for_another_process_that_fetches_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("study.models.hub.BEAT_S", 0.05)
    monkeypatch.setattr("study.pulse._listeners", [])
    heard: list[str | None] = []

    def hear(stage: str | None, _: object) -> None:
        heard.append(stage)
        if len(heard) == 3:
            other.release()

    pulse.listen(hear)
    other = FileLock(tmp_path / "crosscells-locks" / "model-x.lock")
    Path(other.lock_file).parent.mkdir()
    other.acquire()
    with one_per_node("model-x"):
        assert heard == [None] * 3


def test_what_comes_from_the_hub_says_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where bars are switched off, as they are in actors."""
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setattr("study.pulse._listeners", [])
    heard: list[str | None] = []
    pulse.listen(lambda stage, _: heard.append(stage))
    with beating()(total=10, disable=True) as bar:
        bar.update(3)
        bar.update(7)
    assert heard == [None, None]


def test_nor_is_the_hub_blamed_for_it() -> None:
    refusal = refused("models[0].id", "org/m", OSError(errno.ENOLCK, "No locks available"))
    assert (refusal.key, refusal.fix) == ("HF_HOME", "set HF_HOME to a folder on a local disk")
