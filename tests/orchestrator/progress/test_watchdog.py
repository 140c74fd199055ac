"""The watchdog over a store that is asked in the main thread."""

from __future__ import annotations

import re
import threading
import time

import pytest

from orchestrator.progress import watchdog
from orchestrator.progress.watchdog import answering


def test_a_store_that_owes_an_answer_for_too_long_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a study was planned, or its end was shown, nobody looked: it waited for as long as the store was frozen."""
    codes, ended = list[int](), threading.Event()
    monkeypatch.setattr("os._exit", lambda code: (codes.append(code), ended.set()))
    monkeypatch.setattr(watchdog, "LOOK_S", 0.02)
    monkeypatch.setattr(watchdog, "GRACE_S", 0.0)
    since = time.monotonic()
    with answering("s3://b/x", 300, lambda: since), answering("s3://b/x", 30, time.monotonic):
        early = ended.wait(0.5)
    with answering("s3://b/x", 0.1, lambda: since):
        late = ended.wait(30)
    for one in threading.enumerate():  # before anything can fail: what they call is replaced within this test alone
        if one.name == "watchdog":
            one.join()
    assert (early, late) == (False, True)
    assert set(codes) == {1}
    assert re.search(r"error: the store s3://b/x has not answered for \d+ s", capsys.readouterr().err)
