"""What the processes of a cluster listen at, in the words of docs/security.md."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress

import psutil

from tests.support.forks.graft import family
from tests.support.tiny_world import REPOSITORY

NAMED = ("gcs_server", "raylet", "dashboard.py", "monitor.py", "DashboardAgent", "RuntimeEnvAgent", "TrainerProcess")
NAMED += ("ray.util.client.server",)
WORKERS = "workers (`ray::…`, `job driver`)"


def documented() -> set[tuple[str, str]]:
    """Process and address of each row of the table."""
    text = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8").partition("## What listens where")[2]
    rows = re.findall(r"^\| (.+?) \| (all|loopback|node) \|", text, re.MULTILINE)
    return {(process.strip("`") if process != WORKERS else process, address) for process, address in rows}


def listening(root: int) -> Iterator[tuple[str, str]]:
    """Process and address of each socket at which a process below `root` listens now."""
    for process in family(psutil.Process(root)):
        with suppress(psutil.Error):
            title = " ".join([process.name(), *process.cmdline()])
            sockets = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
            name, where = _named(title), sorted(_where(one.laddr.ip) for one in sockets)
            if name == "TrainerProcess" and "all" in where:  # one is Ray's, as each worker has it
                where.remove("all")
                yield WORKERS, "all"
            yield from ((name, one) for one in where)


def _named(title: str) -> str:
    return next((name for name in NAMED if name in title), WORKERS)


def _where(address: str) -> str:
    found = ipaddress.ip_address(address)
    return "all" if found.is_unspecified else "loopback" if found.is_loopback else "node"
