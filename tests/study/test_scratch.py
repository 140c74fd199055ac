"""Scratch folders: what a killed process leaves goes, what a living one holds stays."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from study.scratch import PREFIX, scratch
from tests.support.tiny_world import REPOSITORY

HOLD = """
import time
from study.scratch import scratch
with scratch() as folder:
    (folder / "weights").write_bytes(b"1" * 100)
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_is_there_while_it_is_used_and_gone_after_it(temporary: Path) -> None:
    with scratch() as first, scratch() as second:
        assert first != second
        assert list(first.iterdir()) == []
        (first / "weights").write_bytes(b"1")
    with pytest.raises(ZeroDivisionError), scratch():
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


@pytest.mark.processes
def test_what_a_killed_process_leaves_goes_with_the_next_and_what_a_living_one_holds_stays(temporary: Path) -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        folders = []
        for holder in holders:
            assert holder.stdout is not None
            folders.append(Path(holder.stdout.readline().strip()))
        holders[0].kill()
        holders[0].wait()
        assert (folders[0] / "weights").exists()
        with scratch() as own:
            assert not folders[0].parent.exists()
            assert (folders[1] / "weights").exists()
            assert own.exists()
        assert [path.name for path in temporary.glob(f"*{PREFIX}*")] == [folders[1].parent.name]
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "linked folder"])
def test_what_a_stranger_left_is_neither_followed_nor_waited_for(temporary: Path, kind: str) -> None:
    """Opening a pipe waited for its writer for ever: no trial began. A link to somebody's file was opened."""
    theirs, victim = temporary / f"{PREFIX}theirs", temporary / "victim"
    victim.mkdir()
    (victim / ".lock").write_text("")
    if kind == "linked folder":
        theirs.symlink_to(victim)
    else:
        theirs.mkdir()
        lock = theirs / ".lock"
        if kind == "link":
            lock.symlink_to(victim / ".lock")
        elif kind == "pipe":
            os.mkfifo(lock)
        else:
            lock.mkdir()
    with scratch():
        assert theirs.exists()
    assert (victim / ".lock").exists()
