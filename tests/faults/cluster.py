"""A Ray cluster of several nodes on one machine, whose processes can be found and killed one by one."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from ray.cluster_utils import Cluster

from tests.support import traps
from tests.support.forks.graft import family, graft

TITLES = {"trainer": "TrainerProcess", "trial": "AdapterTrial", "evaluator": "EvaluatorProcess"}


class Nodes:
    """A head that has `head_cpus` to give away, and two more nodes that have one each."""

    def __init__(self, head_cpus: int = 1) -> None:
        self._cluster: Any = None
        self._end = ExitStack()  # what is left when all clusters have ended
        self._environment = self._end.enter_context(pytest.MonkeyPatch.context())
        self._environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        self._head = {"num_cpus": head_cpus, "include_dashboard": False}
        graft()
        self.start()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    @property
    def head(self) -> Any:
        return self._cluster.head_node

    def start(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="faults-", dir="/tmp", ignore_cleanup_errors=True)
        own = self._end.enter_context(folder)
        self._environment.setenv("RAY_TMPDIR", own)  # not the machine's default cluster
        self.traps = Path(own) / "traps"
        self.traps.mkdir()
        self._environment.setenv(traps.FOLDER, str(self.traps))
        self._cluster = Cluster(initialize_head=True, head_node_args=self._head)
        self._killed = False
        self._complete()

    def add(self) -> Any:
        """Returns the node that has joined."""
        return self._cluster.add_node(num_cpus=1)

    def kill_node(self, choose: Callable[[list[Any]], Any]) -> str:
        """SIGKILL every process of a node that is not the head; returns its id."""
        node = choose(sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id)))
        _kill_all(_raylets([node]))
        self._cluster.remove_node(node, allow_graceful=False)
        return str(node.node_id)

    def kill_raylet(self, choose: Callable[[list[Any]], Any]) -> str:
        """SIGKILL the raylet alone; its workers find out by themselves."""
        node = choose(sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id)))
        for process in _raylets([node]):
            process.kill()
        self._cluster.remove_node(node, allow_graceful=False)
        return str(node.node_id)

    def cut_off(self, choose: Callable[[list[Any]], Any], seconds: float) -> None:
        """Have no process of a node answer anybody for a while, as if the way to it were cut; then all go on."""
        node = choose(sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id)))
        cut = [*_raylets([node]), *_children([node])]
        for process in cut:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(seconds)
        for process in cut:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def replace_lost(self) -> None:
        """Have two nodes beside the head again where Ray counts one as lost, as one that was cut off may be."""
        lost = [node for node in self._cluster.worker_nodes if not any(p.is_running() for p in _raylets([node]))]
        for node in lost:
            self._cluster.remove_node(node, allow_graceful=False)
        self._complete()

    def kill_head(self) -> None:
        """SIGKILL the whole cluster, GCS first."""
        self._killed = True
        for info in self._cluster.head_node.all_processes["gcs_server"]:
            os.kill(info.process.pid, signal.SIGKILL)
        _kill_all(_raylets(self._cluster.list_all_nodes()))
        self._cluster.shutdown()

    def restore(self) -> None:
        """Start it again if all of it was killed, or the nodes that did not come up in place of others."""
        if self._killed:
            self.start()
        self._complete()

    def stop(self) -> None:
        with self._end:
            self._cluster.shutdown()

    def _complete(self) -> None:
        while len(self._cluster.worker_nodes) < 2:
            self.add()

    def processes(self, kind: str, node: Any = None) -> list[psutil.Process]:
        """This cluster's processes of a kind (a key of TITLES), or those of one node.

        A process is called `ray::Class.method`, or `ray::name:Class.method` where its actor has a name.
        """
        nodes = [node] if node else self._cluster.list_all_nodes()
        return [p for p in _children(nodes) if title(p).startswith("ray::") and TITLES[kind] in title(p)]

    def metrics(self) -> str:
        """What Prometheus reads from all nodes."""
        pages = [f"http://{n.node_ip_address}:{n.metrics_export_port}/metrics" for n in self._cluster.list_all_nodes()]
        return "".join(requests.get(page, timeout=30).text for page in pages)

    def settle(self) -> None:
        """Wait until no actor of a study is left."""
        deadline = time.monotonic() + 300
        while any(self.processes(kind) for kind in TITLES) and time.monotonic() < deadline:
            time.sleep(0.2)


def _children(nodes: list[Any]) -> list[psutil.Process]:
    found = []
    for raylet in _raylets(nodes):
        try:
            found += family(raylet)
        except psutil.NoSuchProcess:
            continue
    return found


def _raylets(nodes: list[Any]) -> list[psutil.Process]:
    found = []
    for node in nodes:
        for info in node.all_processes.get("raylet", []):
            try:
                found.append(psutil.Process(info.process.pid))
            except psutil.NoSuchProcess:
                continue
    return found


def _kill_all(raylets: list[psutil.Process]) -> None:
    for raylet in raylets:
        try:
            below = family(raylet)
        except psutil.NoSuchProcess:
            continue
        for process in [*below, raylet]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


def title(process: psutil.Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
