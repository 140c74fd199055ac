"""A study's driver as a process of its own, on a given cluster, and what it left in its store."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import polars as pl

from study.store import composed
from study.store.store import Store
from tests.support.forks import graft
from tests.support.rows import done_scores
from tests.support.tiny_world import REPOSITORY, asked

TIMEOUT_S = float(os.environ.get("FAULT_TIMEOUT_S", "400"))


class Driver:
    """`python -m orchestrator.sweep CONFIG`, its output in a file. As a context it is killed where it has not ended.

    Ray's own clusters for tests ask nobody for a token.
    """

    def __init__(self, config: Path, address: str, *options: str, **environment: str) -> None:
        own = {**environment, "RAY_ADDRESS": address, "HF_DATASETS_CACHE": str(config.parent.parent / "datasets")}
        self._log = config.parent / "output.txt"
        self.began = time.monotonic()
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(
                graft.command("orchestrator.sweep", str(config), "--allow-open-cluster", *options),
                cwd=REPOSITORY,
                env={**os.environ, **own, **graft.planted()},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        if not self.ended:
            os.kill(graft.person(self.process.pid), number)

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for something that happens in the midst of the run."""
        deadline = time.monotonic() + TIMEOUT_S
        while not happened():
            assert not self.ended, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def wait(self) -> int:
        """Returns the exit code."""
        try:
            return self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"the driver hangs:\n{self.output}") from None

    def end(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()


def done(store: Store) -> int:
    """Units that are done."""
    return len(store.records()) + len(done_scores(store))


def tables(store: Store) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """Scores, items and digests of the adapters' weights, without what differs from run to run by nature.

    Rows of a unit that ran twice must say the same, else they stand here twice.
    """
    scores = pl.DataFrame(pl.from_arrow(store.scores())).drop("written_at", "seconds")
    items = pl.DataFrame(pl.from_arrow(store.items())).drop("written_at")
    scored, seen = scores.unique().sort("score_id", "metric"), items.unique().sort("score_id", "doc_id")
    assert set(scored["score_id"]) == set(seen["score_id"]) == asked(store)
    weights = {
        adapter_id: hashlib.sha256(store.read(f"{record.folder}/adapter_model.safetensors")).hexdigest()
        for adapter_id, record in store.records().items()
    }
    weights |= {  # and what they are made of: of some the weights are searched, and some have no files
        one: repr((record.terms, sorted((name, file.sha256) for name, file in record.files.items())))
        for one, record in composed.records(store).items()
    }
    return scored, seen, weights
