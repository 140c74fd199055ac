"""A cluster of several machines from `ray up` to `ray down`: a study runs on it, a node dies, the tables are right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from study.store.store import Store
from tests.support.hosts import MISSING, Hosts
from tests.support.tiny_world import REPOSITORY, environment

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making hosts out of network namespaces needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"making hosts needs {', '.join(MISSING)}"),
]

BIN = Path(sys.executable).parent
LONGEST_S = 900.0  # on a busy machine
STUDY = ["examples/quickstart/study.yaml"]
for override in ("languages=[de, en]", "training.gang_size=1"):
    STUDY += ["--set", override]


def results(store: Store) -> pl.DataFrame:
    """Item rows without what differs from run to run by nature; ordered."""
    items = pl.DataFrame(pl.from_arrow(store.items()))
    return items.drop("written_at", "loglikelihoods").unique().sort("score_id", "doc_id")


def until(what: Callable[[], Any], seconds: float) -> Any:
    """What `what` returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return found


class Cluster:
    """The project's on-premise cluster on hosts of this machine, as its operator sees it."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self.file, self.home = hosts, folder / "cluster.yaml", folder / "home"
        self.env = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "RAY_AUTH_MODE": "token",
            "RAY_UP_enable_autoscaler_v2": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        config = yaml.safe_load((REPOSITORY / "clusters" / "onpremise.yaml").read_text())
        config["cluster_name"] = hosts.operator
        config["provider"] = {"type": "local", "head_ip": hosts.addresses[0], "worker_ips": hosts.addresses[1:]}
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
        config["setup_commands"] = [f"VENV={BIN.parent} {command}" for command in config["setup_commands"]]
        start = config["worker_start_ray_commands"]  # hosts of one CPU: one trains while the other scores
        config["worker_start_ray_commands"] = [c.replace("ray start", "ray start --num-cpus=1") for c in start]
        self.file.write_text(yaml.safe_dump(config, sort_keys=False))
        self.home.mkdir()
        subprocess.run(["clusters/keys.sh"], cwd=REPOSITORY, env=self.env, check=True, capture_output=True)
        token = (self.home / ".ray" / "auth_token").read_text()
        self._header = folder / "header"
        self._header.write_text(f"Authorization: Bearer {token}")

    def ray(self, *arguments: str, timeout: float = 120) -> str:
        done = self.hosts.run([str(BIN / "ray"), *arguments], timeout, self.env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """A command of the operator's that goes on beside the test."""
        with log.open("wb") as out:
            return subprocess.Popen(self.hosts.command(command), cwd=REPOSITORY, env=self.env, stdout=out, stderr=out)

    def ask(self, path: str) -> Any:
        """The dashboard's answer; None while it has none."""
        url = f"http://127.0.0.1:8265{path}"
        answer = self.hosts.run(["curl", "-s", "-m", "20", "-H", f"@{self._header}", url], 30).stdout
        return json.loads(answer) if answer.startswith("{") else None

    def rows(self, kind: str) -> list[dict[str, Any]]:
        answer = self.ask(f"/api/v0/{kind}?detail=true&limit=1000")
        return answer["data"]["result"]["result"] if answer else []

    def workers(self) -> list[str]:
        """Node ids of the living nodes that have CPUs to give."""
        nodes = [row for row in self.rows("nodes") if row["state"] == "ALIVE"]
        return [row["node_id"] for row in nodes if row["resources_total"].get("CPU")]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The same study on this machine alone, running while the cluster comes up; its store."""
    store = tmp_path / "local"
    command = [sys.executable, "-m", "orchestrator.sweep", *STUDY, "--set", f"store={store}"]
    with (tmp_path / "local.log").open("wb") as log:
        run = subprocess.Popen(command, cwd=REPOSITORY, env=environment(tmp_path), stdout=log, stderr=log)
    yield run, store
    run.kill()
    run.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Hosts(tmp_path / "net", 3) as hosts:
        cluster = Cluster(hosts, tmp_path)
        cluster.ray("up", "-y", "--no-config-cache", str(cluster.file), timeout=LONGEST_S)
        tunnel = cluster.start(str(BIN / "ray"), "dashboard", str(cluster.file), log=tmp_path / "tunnel.log")
        try:
            until(lambda: len(cluster.workers()) == 2, LONGEST_S)
            yield cluster
        finally:
            tunnel.terminate()
            tunnel.wait()
            cluster.ray("down", "-y", str(cluster.file), timeout=LONGEST_S)


def test_a_study_on_a_cluster_that_loses_a_node_gives_the_tables_of_a_local_run(
    local: tuple[subprocess.Popen[bytes], Path], cluster: Cluster, tmp_path: Path
) -> None:
    store, log = Store(str(tmp_path / "store")), tmp_path / "submit.log"
    nodes = set(cluster.workers())
    submit = [str(BIN / "python"), "-m", "orchestrator.submit", *STUDY, "--set", f"store={store.uri}"]
    job = cluster.start(*submit, log=log)
    at_work: dict[str, set[str]] = {"TrainerProcess": set(), "EvaluatorProcess": set()}

    def look() -> None:
        for row in cluster.rows("actors"):
            if row["class_name"] in at_work and row["state"] == "ALIVE":
                at_work[row["class_name"]].add(row["node_id"])

    def in_the_middle() -> bool:
        look()
        return job.poll() is not None or (bool(store.records()) and set.union(*at_work.values()) == nodes)

    until(in_the_middle, LONGEST_S)
    cluster.hosts.crash(2)
    assert job.wait(timeout=LONGEST_S) == 0, log.read_text()
    assert "succeeded" in log.read_text()
    look()
    assert all(at_work.values()), at_work
    states = {row["node_id"]: row["state"] for row in cluster.rows("nodes")}
    assert sorted(states[node] for node in nodes) == ["ALIVE", "DEAD"]
    for i in (0, 1):
        seen = cluster.hosts.ssh(i, "stat -c %a ~/.ray/auth_token ~/.crosscells/secrets.env; ss -ltnH 'sport = :8265'")
        assert seen.stdout.split()[:2] == ["600", "600"]
        assert "127.0.0.1:8265" in seen.stdout or i == 1
        assert "0.0.0.0:8265" not in seen.stdout
    assert local[0].wait(timeout=LONGEST_S) == 0, (tmp_path / "local.log").read_text()
    assert results(store).equals(results(Store(str(local[1]))))
