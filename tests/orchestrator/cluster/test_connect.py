"""What is said of a cluster, or a machine, on which a study cannot run, before anything is started."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest
import ray
from ray._private import worker

from orchestrator.cluster.connect import ENDED, ITS_LOGS, _quieten, check_fits, connect
from study.config.file import parse
from study.errors import ConfigError
from tests.faults.disk import Disk
from tests.faults.driven import Driver
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_config, make_tasks


def test_what_can_never_fit_is_said_at_once() -> None:
    config = parse("models: [{id: a}]\nlanguages: [en]\ntasks: [{name: t, lm_eval: 't_{language}'}]")
    with pytest.raises(ConfigError, match=r"training\.resources_per_worker.*GPU: 0"):
        check_fits(config, [{"CPU": 2}])


def test_workers_lie_on_several_nodes_and_an_evaluator_on_one() -> None:
    text, two = "models: [{id: a}]\nlanguages: [en]\ntasks: [{name: t, lm_eval: 't_{language}'}]", [{"GPU": 2.0}] * 2
    check_fits(parse(text, ["training.workers_per_trial=4", "evaluators.resources={GPU: 2}"]), two)
    with pytest.raises(ConfigError, match=r"evaluators\.resources = .*does not fit on the .*each of which has GPU: 2"):
        check_fits(parse(text, ["evaluators.resources={GPU: 4}"]), two)
    with pytest.raises(ConfigError, match=r"resources_per_worker = .*does not fit 5 times on"):
        check_fits(parse(text, ["training.workers_per_trial=5"]), two)


@pytest.mark.processes
def test_a_full_scratch_is_said_before_ray_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("RAY_TMPDIR", str(disk.where))
        with pytest.raises(ConfigError, match="MiB free"):
            connect()


def test_an_address_where_nobody_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray asked for 40 s, and wrote in the log of its own parts."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"nobody answers there \(Connection refused\)"):
            connect()


def test_what_ray_publishes_is_logged_but_that_a_process_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(logging.getLogger("ray"), "error", lambda form, *values: logged.append(form % values))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(worker, "print_to_stdstream", None)
    _quieten()
    died = f"{ENDED} by an unexpected system error. To troubleshoot the problem, check the logs for the dead worker."
    ended = f"Raylet is terminated. Last 20 {ITS_LOGS}\n    *** StackTrace Information ***\n    main"
    for text in (died, "The log monitor on node n failed with 100% of errors", ended):
        worker.print_to_stdstream({"lines": [text], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert logged[0] == "The log monitor on node n failed with 100% of errors"
    assert logged[1:] == [f"Raylet is terminated. Last 20 {ITS_LOGS} Ray has them"]


def test_rays_raylet_says_so_when_a_process_has_ended() -> None:
    raylet = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"
    assert ENDED.encode() in raylet.read_bytes()


@pytest.mark.processes
@pytest.mark.long
def test_a_cluster_that_says_nothing_is_said_within_a_minute_or_so(tmp_path: Path) -> None:
    """Ray itself would ask twenty times, forty seconds each."""
    model, tasks = make_model(tmp_path / "tiny"), make_tasks(tmp_path / "tasks", ["next"], ["xx"])
    config = make_config(tmp_path, [model], ["next"], ["xx"], tasks)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.listen()  # and says nothing
        with Driver(config, f"127.0.0.1:{nobody.getsockname()[1]}") as driver:
            assert driver.wait() == 2, driver.output
    assert "error: RAY_ADDRESS = " in driver.output
    assert "the cluster does not answer" in driver.output
    assert "Traceback" not in driver.output
