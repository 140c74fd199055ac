"""What NVIDIA's driver answers, and what is made of one that tells nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from orchestrator.cluster.gpu_memory import _read, told


def test_each_gpu_that_tells_is_told() -> None:
    assert told("81559\n143771\n") == [81559 << 20, 143771 << 20]
    assert told("[N/A]\n40960\n") == [40960 << 20]
    assert told("") == []


@pytest.mark.processes
def test_a_node_is_asked_by_its_drivers_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert told(_read()) == []  # there is none
    program = tmp_path / "nvidia-smi"
    for says, expected in (("echo 24564", [24564 << 20]), ("echo 'no devices were found'; exit 6", [])):
        program.write_text(f"#!/bin/sh\n{says}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        assert told(_read()) == expected
