"""The store of known truth that anybody can write holds what this release reads."""

from __future__ import annotations

from pathlib import Path

from analysis.reading.study import load_store
from bench.calibration.known import write
from bench.calibration.worlds import World


def test_a_store_of_known_truth_is_read(tmp_path: Path) -> None:
    """Columns that scores had got since were missing: nothing was written."""
    write(tmp_path / "known", World("one harm", "one harm", tasks=2, languages=2, items=(20,)))
    assert load_store(str(tmp_path / "known")).transfer.height == 16
