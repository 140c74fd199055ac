"""The GPU kit runs at tiny shapes, and each line is as it has to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.gpu.__main__ import main
from bench.gpu.beside import steps
from bench.gpu.kit import Kit
from bench.gpu.writing import writing
from tests.support import flash
from tests.support.training import shared_worker


def test_the_core_of_the_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    flash.install(tmp_path / "libraries", monkeypatch)
    code = main(["core", "--tiny", "--out", str(tmp_path)])
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert [line for line in told["lines"] if line["holds"] is False] == []
    assert code == 0
    assert told["machine"]["device"] == "Fake A100"
    assert {line["part"] for line in told["lines"]} >= {
        "placement",
        "parity",
        "gang",
        "memory",
        "waits",
        "split",
        "speed",
    }
    assert sum(line["part"] == "split" for line in told["lines"]) == 6, "over two devices, in both dtypes"
    assert (tmp_path / "gpu.md").read_text().count("\n| ") >= len(told["lines"])
    assert {line["what"] for line in told["lines"] if line["part"] == "flash"} >= {
        "a gang beside one by sdpa",
        "plain rows beside sdpa",
    }


def test_what_steps_hold_is_measured_on_the_device() -> None:
    kit, worker = Kit(torch.device("cuda", 0), tiny=True, until=0), shared_worker()
    worker.join(worker.address())  # else the kit would, and no other test could train in this process
    steps(kit)
    told = {line.what: float(line.value) for line in kit.lines}
    assert len(told) == 6
    for dtype, each in (("float32", 16), ("bfloat16", 14)):
        [weight] = [value for what, value in told.items() if "of a weight" in what and what.endswith(f", {dtype}")]
        assert 0.97 * each < weight < 1.1 * each


def test_texts_that_are_written_are_generates() -> None:
    kit = Kit(torch.device("cuda", 0), tiny=True, until=0)
    writing(kit)
    assert [line.holds for line in kit.lines] == [True, True]
