"""Machines whose line to the others is cut, for a moment and until they count as lost, and is there again."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from study.check import main as check
from study.store.store import Store
from tests.clusters.test_hosts import BIN, LONGEST_S, STUDY, Cluster, cluster, local, pytestmark, results, until

__all__ = ["cluster", "local"]

pytestmark = [*pytestmark, pytest.mark.long]

MOMENT_S = 10.0  # less than Ray waits for an answer


def test_a_study_goes_on_while_machines_are_cut_off_and_after_they_are_back(
    local: tuple[subprocess.Popen[bytes], Path], cluster: Cluster, tmp_path: Path
) -> None:
    """What such a machine has in hand is done by others, and by itself too, since it can reach the store."""
    store, log = Store(str(tmp_path / "store")), tmp_path / "submit.log"
    nodes = set(cluster.workers())
    submit = [str(BIN / "python"), "-m", "orchestrator.submit", *STUDY, "--set", f"store={store.uri}"]
    job = cluster.start(*submit, log=log)

    def at_work() -> set[str]:
        rows = (row for row in cluster.rows("actors") if row["state"] == "ALIVE")
        return {row["node_id"] for row in rows if row["class_name"] in ("TrainerProcess", "EvaluatorProcess")}

    until(lambda: job.poll() is not None or (store.records() and at_work() == nodes), LONGEST_S)
    cluster.hosts.cut_off(1)
    time.sleep(MOMENT_S)
    cluster.hosts.reconnect(1)
    assert job.poll() is None, log.read_text()
    cluster.hosts.cut_off(2)
    until(lambda: len(cluster.workers()) == 1, LONGEST_S)
    cluster.hosts.reconnect(2)
    assert job.poll() is None, log.read_text()
    assert job.wait(timeout=LONGEST_S) == 0, log.read_text()
    assert "succeeded" in log.read_text()
    assert local[0].wait(timeout=LONGEST_S) == 0, (tmp_path / "local.log").read_text()
    assert results(store).equals(results(Store(str(local[1]))))
    assert check([store.uri, "--repair"]) == 0
    assert check([store.uri]) == 0
