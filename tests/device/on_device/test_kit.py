"""The GPU kit runs at tiny shapes, and each line is as it has to be."""

from __future__ import annotations

import json
from pathlib import Path

from bench.gpu.__main__ import main


def test_the_core_of_the_kit(tmp_path: Path) -> None:
    code = main(["core", "--tiny", "--out", str(tmp_path)])
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert [line for line in told["lines"] if line["holds"] is False] == []
    assert code == 0
    assert told["machine"]["device"] == "Fake A100"
    assert {line["part"] for line in told["lines"]} >= {"placement", "parity", "gang", "memory", "waits", "speed"}
    assert (tmp_path / "gpu.md").read_text().count("\n| ") >= len(told["lines"])
