"""Whether a study without compositions starts, plans and scores as fast as in another checkout of this repository.

`python -m bench.before OTHER [ROUNDS]`: CPU seconds of whole processes, user and system, one thread each, this checkout
and the other in turn, the first of a round by turns. A round is a ratio; their median is told with its spread.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

QUICKSTART = "examples/quickstart/study.yaml"
SCORES = 1  # so often the base is scored on all targets, beside once for what is read and made at first
SCORING = f"""
import sys, tempfile
import torch
torch.set_num_threads(1)
from evaluators.evaluator import Evaluator, Settings
from study.config.file import load
from study.models.resolve import resolve_all
from study.store.store import Store
from study.units import ScoreUnit
config = load("{QUICKSTART}", [], None)
[model] = resolve_all(config)
with tempfile.TemporaryDirectory() as folder:
    evaluator = Evaluator(model, Store(folder), Settings.of(config))
    for number in range({SCORES} + 1):
        own = [ScoreUnit(f"{{number}}{{c}}", "base", str(c), model.name, 1, None, c) for c in config.target_list()]
        assert all(one.ok for one in evaluator.score(own))
"""
WHAT = {
    "start and plan the quickstart": ["-m", "orchestrator.sweep", QUICKSTART, "--dry-run"],
    "plan 100 million scores": ["-m", "bench.planning", "1"],
    f"score its base on 44 targets, {SCORES + 1} times over": ["-c", SCORING],
}


def cpu_seconds(checkout: Path, command: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        more = ["--set", f"store={folder}/store"] if "--dry-run" in command else []
        own = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": f"{folder}/datasets"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *command, *more], cwd=checkout, env={**os.environ, **own}, check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(other: Path, rounds: int) -> None:
    here = Path.cwd()
    for what, command in WHAT.items():
        seconds: dict[Path, list[float]] = {here: [], other: []}
        for number in range(rounds + 1):
            for checkout in (here, other) if number % 2 else (other, here):
                seconds[checkout].append(cpu_seconds(checkout, command))
        pairs = list(zip(seconds[here], seconds[other], strict=True))[1:]  # the first round is warming up
        ratios = sorted(mine / theirs for mine, theirs in pairs)
        mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"{what:44} {mine:7.2f} CPU s here, {theirs:7.2f} there, {spread} x", flush=True)


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.1f}")
    main(Path(sys.argv[1]).resolve(), int((*sys.argv[2:], "5")[0]))
    print(f"load {os.getloadavg()[0]:.1f}")
