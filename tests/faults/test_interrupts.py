"""Ctrl-C, once, on a terminal, in each state of a run: it ends within half a minute, whole, and leaves no process."""

from __future__ import annotations

import os
import pty
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from study.store.store import Store
from tests.support.forks.graft import family
from tests.support.rows import done_scores
from tests.support.tiny_models import make_model
from tests.support.tiny_world import CROWDED, make_config, make_tasks, start, wait_until

pytestmark = pytest.mark.long

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"  # the cursor


def has_evaluator(pid: int) -> bool:
    titles = (Path(f"/proc/{process.pid}/cmdline") for process in family(psutil.Process(pid)))
    return any(b"EvaluatorProcess" in title.read_bytes() for title in titles if title.exists())


STATES: dict[str, Callable[[int, Store], object]] = {
    "starting": lambda pid, store: store.exists("study.yaml") and family(psutil.Process(pid)),
    "loading": lambda pid, store: has_evaluator(pid),
    "training": lambda pid, store: store.files("checkpoints", ""),
    "scoring": lambda pid, store: done_scores(store),
}


@contextmanager
def terminal() -> Iterator[tuple[int, list[bytes]]]:
    """A terminal, and what is written to it."""
    mine, its = pty.openpty()
    written: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(mine, 4096):
                written.append(data)
        except OSError:  # nobody has it open any more
            return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield its, written
    finally:
        os.close(its)
        reader.join(10)
        os.close(mine)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray's sessions lie; no longer than sockets need it to be."""
    with tempfile.TemporaryDirectory(prefix="int-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def of(sessions: Path) -> list[psutil.Process]:
    """Processes of Ray's own whose session lies there, whoever has started them."""
    return [one for one in psutil.process_iter(["cmdline"]) if str(sessions) in " ".join(one.info["cmdline"] or [])]


@pytest.mark.parametrize("state", STATES)
def test_ctrl_c_ends_a_run_within_half_a_minute_and_leaves_nothing(state: str, tmp_path: Path, sessions: Path) -> None:
    tasks = make_tasks(tmp_path / "tasks", ["next", "skip"], ["xx", "yy"])
    model = make_model(tmp_path / "tiny", spread=0.2)
    config = make_config(tmp_path, [model], ["next", "skip"], ["xx", "yy"], tasks, **CROWDED)
    store = Store(str(tmp_path / "store"))
    with (
        terminal() as (its, written),
        start(config, stdin=its, stdout=its, stderr=its, start_new_session=True) as driver,
    ):
        wait_until(lambda: STATES[state](driver.pid, store), driver)
        left = family(psutil.Process(driver.pid))
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
        assert driver.wait(30) == 130, b"".join(written).decode()
    assert psutil.wait_procs(left + of(sessions), timeout=10)[1] == []
    assert of(sessions) == []
    assert len([*sessions.glob("**/session_2*")]) <= 1, "a driver that ends has started another session of Ray"
    output = b"".join(written)
    assert b"SIGINT: stopped." in output
    assert b"Traceback" not in output
    assert output.count(HIDE) == output.count(SHOW)
