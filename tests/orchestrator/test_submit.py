"""Studies handed to a real cluster that asks for a token: what runs, what is refused, and that no secret is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from analysis import report
from orchestrator import submit
from orchestrator.cluster.address import lets_strangers_in
from study.store.store import Store
from tests.support.local import Cluster, head
from tests.support.rows import done_scores
from tests.support.sockets import documented, listening
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_config, make_tasks

SECRETS = {
    "HF_TOKEN": "hf_sentinel0mvD2",
    "AWS_ACCESS_KEY_ID": "AKIASENTINEL1",
    "AWS_SECRET_ACCESS_KEY": "aws-sentinel2+q/",
    "WANDB_API_KEY": "wandb-sentinel3",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Its node has secrets in its environment, as clusters/setup.sh puts them there."""
    home = tmp_path_factory.mktemp("home")
    with head(home, 2, HF_DATASETS_CACHE=str(home / "datasets"), **SECRETS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own folder, apart from the program: a study of relative paths, one of whose cells is broken."""
    folder = tmp_path_factory.mktemp("own")
    make_model(folder / "tiny", spread=0.2)
    tasks = make_tasks(folder / "tasks", ["next"], ["xx", "zz"])
    rows = (tasks / "next_zz_test.jsonl").read_text()
    (tasks / "next_zz_test.jsonl").write_text(rows.replace("question", "frage"))
    file = make_config(folder, [Path("tiny")], ["next"], ["xx", "zz"], Path("tasks"))
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "store": "runs/own"}))
    shutil.copy(file, folder.parent / "elsewhere.yaml")
    return folder


def test_a_client_without_the_token_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    connect = [sys.executable, "-c", "import ray; ray.init(); print('inside')"]
    stranger = {**cluster.env, "HOME": str(tmp_path), "RAY_ADDRESS": cluster.gcs}
    gcs = subprocess.Popen(connect, env=stranger, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    bad = tmp_path / "token"
    bad.write_text("0" * 64)
    for path in ("/api/jobs/", "/api/v0/actors", "/nodes?view=summary", "/api/version"):
        assert requests.get(cluster.dashboard + path, timeout=30).status_code == 401
        header = {"Authorization": f"Bearer {bad.read_text()}"}
        assert requests.get(cluster.dashboard + path, timeout=30, headers=header).status_code == 403
        header = {"Authorization": f"Bearer {cluster.token}"}
        assert requests.get(cluster.dashboard + path, timeout=30, headers=header).status_code == 200
    for env in ({"HOME": str(tmp_path)}, {"RAY_AUTH_TOKEN_PATH": str(bad)}):
        refused = cluster.submit("--status", **env)
        assert refused.returncode == 2
        assert "the cluster refuses this client" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert lets_strangers_in(cluster.gcs) is False
    answer = gcs.communicate(timeout=60)[0]  # Ray tries for 20 s
    assert gcs.returncode != 0
    assert "inside" not in answer


def test_a_study_outlives_the_laptop_and_writes_no_secret_anywhere(
    cluster: Cluster, world: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "orchestrator.submit", "study.yaml", "--address", cluster.dashboard]
    laptop = subprocess.Popen(
        [*command, "--set", f"store={store}"],
        cwd=world, env={**cluster.env, **SECRETS}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert laptop.stdout is not None
    study = re.split(r"[ .]", laptop.stdout.readline())[1]
    laptop.kill()
    laptop.communicate()
    titles, sockets = set(), set[tuple[str, str]]()
    status = cluster.submit("--status", study).stdout
    assert re.search("pending|running", status), status
    while cluster.get(f"/api/jobs/{study}").json()["status"] in ("PENDING", "RUNNING"):
        for _ in range(10):  # a trainer may live for a second; asking the cluster takes what it could use
            now = {path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
            trains = any(re.match(rb"ray::TrainerProcess", title) for title in now)
            if trains and ("TrainerProcess", "loopback") not in sockets:
                sockets |= set(listening(cluster.pid))
            titles |= now
            time.sleep(0.2)
        if any(re.match(rb"ray::EvaluatorProcess", title) for title in now):
            sockets |= set(listening(cluster.pid))
    assert sockets <= documented(), "docs/security.md does not say so"
    assert {("gcs_server", "all"), ("dashboard.py", "loopback"), ("TrainerProcess", "loopback")} <= sockets
    again = cluster.submit("--follow", study)
    assert again.returncode == 1, again.stdout  # the broken cell
    assert "target next/zz" in again.stdout
    assert "succeeded" not in again.stdout
    assert Store(str(store)).failures()
    assert done_scores(Store(str(store)))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        assert report.main([str(store)]) == 0
    files = [path for root in (store, cluster.session) for path in root.rglob("*") if path.is_file()]
    assert {"index.html", "study.yaml", "runtime_env_agent.log"} <= {path.name for path in files}
    written = {path: path.read_bytes() for path in files} | {Path("/proc"): b"\n".join(titles)}
    written[Path("output")] = (again.stdout + again.stderr).encode()
    for secret in (*SECRETS.values(), cluster.token):
        assert not [path for path, content in written.items() if secret.encode() in content], secret


def test_the_exit_code_is_the_studys_and_a_study_can_be_stopped(cluster: Cluster, world: Path, tmp_path: Path) -> None:
    nowhere = ("--set", f"store={tmp_path}/a", "--set", "models.0.id=/nowhere")
    wrong = cluster.submit("study.yaml", *nowhere, "--json", cwd=world)
    assert wrong.returncode == 2, wrong.stdout
    assert "models[0].id" in wrong.stderr
    told = json.loads(wrong.stdout)
    assert (told["status"], told["store"]) == ("failed", f"{tmp_path}/a")
    again = cluster.submit("--follow", told["id"])
    assert again.returncode == 2
    assert "models[0].id" in again.stdout
    endless = ("--set", f"store={tmp_path}/b", "--set", "recipe.epochs=100000")
    handed = cluster.submit("study.yaml", *endless, "--no-follow", "--json", cwd=world)
    assert handed.returncode == 0
    study = json.loads(handed.stdout)["id"]
    stopped = cluster.submit("--stop", study, "--json")
    assert f"{study}: stopped" in stopped.stderr
    assert json.loads(stopped.stdout)["status"] == "stopped"
    assert f"{study}  stopped" in cluster.submit("--status").stdout
    told = json.loads(cluster.submit("--status", "--json").stdout)
    assert (study, "stopped") in {(one["id"], one["status"]) for one in told}
    assert cluster.submit("--follow", study).returncode != 0


def refused(key: str, code: int, error: str) -> None:
    assert code == 2
    assert error.startswith(f"error: {key} = ")
    assert "\n  fix: " in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["study.yaml"], "store"),
        (["study.yaml", "--set", "recipe.epoch=1"], "recipe.epoch"),
        (["../elsewhere.yaml"], "CONFIG"),
        ([], "CONFIG"),
        (["study.yaml", "--stop", "x"], "CONFIG"),
        (["study.yaml", "--set", "store=/s", "--env", "HF_TOKEN=x"], "--env"),
        (["study.yaml", "--set", "store=/s", "--env", "HF_HUB_OFFLINE"], "--env"),
        (["study.yaml", "--set", "store=/s", "--env", "X=hf_AbCdEfGhIjKlMnOpQr"], "--env"),  # went through by its name
        (["study.yaml", "--set", "store=/s", "--env", "X=0123456789abcdef0123456789abcdef01234567"], "--env"),
        (["study.yaml", "--set", "store=/s", "--env", "GH_PAT=x"], "--env"),
        (["study.yaml", "--set", "store=s3://key:c2VjcmV0@bucket/s"], "--set[0]"),  # stood in the job's command line
        (["study.yaml", "--set", "store=s3://key:c2VjcmV0@b/s", "--set", "store=/s"], "--set[0]"),
        (["study.yaml", "--set", "store=/s", "--calibrate-from", "s3://key:c2VjcmV0@b/s"], "the command line[1]"),
    ],
)
def test_bad_input_names_the_key_and_the_fix(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], key: str
) -> None:
    """What no cluster need be asked about: none is there."""
    monkeypatch.chdir(world)
    code = submit.main([*arguments, "--address", "http://127.0.0.1:1"])
    error = capsys.readouterr().err
    refused(key, code, error)
    assert not any(secret in error for secret in ("AbCdEf", "c2VjcmV0", "0123456789abcdef"))


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--stop", "nobody"], "ID"),
        (["study.yaml", "--set", "store=/s", "--address", "http://127.0.0.1:1"], "--address"),
    ],
)
def test_bad_input_that_a_cluster_is_asked_about(cluster: Cluster, world: Path, arguments: list[str], key: str) -> None:
    done = cluster.submit(*arguments, cwd=world)
    refused(key, done.returncode, done.stderr)
