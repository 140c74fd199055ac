"""How a run ends before its end, where what it waits for at last does not answer."""

from __future__ import annotations

import threading

import pytest

from orchestrator import stop
from orchestrator.stop import Interrupted, StudyStopped, at_latest, exit_code


def test_who_does_not_let_go_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, ended = list[int](), threading.Event()
    monkeypatch.setattr("os._exit", lambda code: (codes.append(code), ended.set()))
    with at_latest(exit_code(StudyStopped())):
        pass
    monkeypatch.setattr(stop, "LET_GO_S", 0.01)
    with at_latest(exit_code(Interrupted())):
        assert ended.wait(30)
    assert codes == [130]
