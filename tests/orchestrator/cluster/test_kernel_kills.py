"""How many processes the kernel has killed for memory, by what it says on different machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cluster.kernel_kills import kills


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"proc/vmstat": "oom_kill 3\nzswpin 0\n", "proc/self/cgroup": "3:cpuset:/\n0::/\n"}, 3),
        (
            {
                "proc/vmstat": "oom_kill 3\n",
                "proc/self/cgroup": "4:memory:/a/b\n0::/\n",
                "sys/fs/cgroup/memory/a/b/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            },
            2,
        ),
        (
            {
                "proc/vmstat": "oom_kill 3\n",
                "proc/self/cgroup": "0::/a.scope\n",
                "sys/fs/cgroup/a.scope/memory.events": "low 0\noom 7\noom_kill 1\noom_group_kill 0\n",
            },
            1,
        ),
        ({}, 0),
    ],
)
def test_where_the_kernel_counts_its_kills(tmp_path: Path, files: dict[str, str], count: int) -> None:
    """On a machine as it is, under control groups of versions 1 and 2, and where there is no such thing."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert kills(tmp_path) == count
