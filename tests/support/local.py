"""A real cluster of one machine that asks for a token, apart from any other: own ports, own folder, own home."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from tests.support.forks.graft import MODULE, family, planted
from tests.support.tiny_world import REPOSITORY


@dataclass
class Cluster:
    """`session` is where Ray writes, `env` a client's environment; the token is in its home."""

    dashboard: str
    gcs: str
    session: Path
    token: str
    env: dict[str, str]
    pid: int = 0  # of `ray start`, below which all of it runs

    def submit(self, *arguments: str, cwd: Path = REPOSITORY, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestrator.submit", "--address", self.dashboard, *arguments]
        return subprocess.run(
            command, cwd=cwd, env={**self.env, **env}, capture_output=True, text=True, timeout=300, check=False
        )

    def get(self, path: str) -> requests.Response:
        """What its dashboard answers, without a process to ask it."""
        header = {"Authorization": f"Bearer {self.token}"}
        return requests.get(f"{self.dashboard}{path}", headers=header, timeout=30)

    def takes_jobs(self) -> bool:
        try:
            return self.get("/api/jobs/").ok
        except requests.ConnectionError:
            return False


@contextmanager
def head(home: Path, cpus: int, **env: str) -> Iterator[Cluster]:
    """Start a cluster with what `env` adds to its node's environment; end it, and nothing else of Ray's."""
    session = Path(tempfile.mkdtemp(prefix="cc", dir="/tmp"))  # the path of a socket is short
    own = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(home)}
    own |= {
        "PATH": f"{_forks(home / 'bin')}:{Path(sys.executable).parent}:{own['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # as in tests/conftest.py
        **planted(),
    }
    subprocess.run([REPOSITORY / "clusters" / "keys.sh"], env=own, check=True, capture_output=True)
    dashboard, gcs, client = (free_port() for _ in range(3))
    found = Cluster(
        f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", session, (home / ".ray" / "auth_token").read_text(), own
    )
    ports = [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    options = ["--head", f"--num-cpus={cpus}", f"--temp-dir={session}", "--dashboard-host=127.0.0.1", *ports]
    with node(found, home / "head.log", *options, **env) as ray:
        found.pid = ray.pid
        deadline = time.monotonic() + 300
        while not found.takes_jobs():
            assert ray.poll() is None, (home / "head.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield found
    shutil.rmtree(session)


def _forks(folder: Path) -> Path:
    """With a `python` whose `-m MODULE` is a fork, for a job, which finds it on its path."""
    folder.mkdir()
    command = folder / "python"
    python = sys.executable
    command.write_text(f'#!/bin/sh\n[ "$1" = -m ] && shift && exec {python} {MODULE} "$@"\nexec {python} "$@"\n')
    command.chmod(0o755)
    return folder


@contextmanager
def node(cluster: Cluster, log: Path, *options: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start` with these options, until the context ends."""
    command = [sys.executable, "-m", "tests.support.forks.graft", "start", "--block", "--disable-usage-stats", *options]
    command += ["--metrics-export-port=0", "--dashboard-agent-listen-port=0"]
    with log.open("wb") as out:
        ray = subprocess.Popen(
            command, env={**cluster.env, "RAY_AUTH_MODE": "token", **env}, stdout=out, stderr=out
        )  # fmt: skip
    try:
        yield ray
    finally:
        for process in [*family(psutil.Process(ray.pid)), ray]:
            process.kill()
        ray.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
