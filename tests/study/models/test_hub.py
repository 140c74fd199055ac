"""The Hub's cache: filled once per machine, used alone without a network, and clear words where it cannot be filled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.hub import COMMIT, TOKEN
from tests.support.tiny_world import REPOSITORY

WORKER = """
import sys
from study.models.hub import local_folder
print(local_folder(sys.argv[1], sys.argv[2]))
"""
RESOLVE = """
import sys
from orchestrator.failures import kind_of
from study.config import ModelConfig
from study.errors import ConfigError
from study.models.hub import local_folder
from study.models.resolve import resolve
try:
    model = resolve(ModelConfig(id=sys.argv[1]), "float32", "models[0]")
    print(model.revision, model.params, local_folder(model.path, model.revision))
except ConfigError as error:
    print(kind_of(error), error)
"""


@contextmanager
def hub(folder: Path, repo: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.hub", str(folder), repo]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def started(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", script, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=REPOSITORY, env={**own, **environment}, text=True, **pipes)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


def test_workers_of_a_machine_fetch_a_model_once_and_offline_it_is_found(tiny_model_dir: Path, tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    with hub(tiny_model_dir, "some/tiny") as endpoint:
        workers = [started(WORKER, "some/tiny", COMMIT, HF_ENDPOINT=endpoint, **home) for _ in range(4)]
        folders = {said(worker) for worker in workers}
        assert len(folders) == 1
        with urllib.request.urlopen(f"{endpoint}/-/counts") as answer:
            counts = json.load(answer)
        assert counts["model.safetensors"] == counts["tokenizer.json"] == counts["config.json"] == 1
        online = said(started(RESOLVE, "some/tiny", HF_ENDPOINT=endpoint, **home))
        missing = said(started(RESOLVE, "other/model", HF_ENDPOINT=endpoint, **home))
    offline = said(started(RESOLVE, "some/tiny", HF_HUB_OFFLINE="1", HF_ENDPOINT=endpoint, **home))
    assert offline == online
    assert offline.split()[0] == COMMIT
    assert (Path(folders.pop()) / "model.safetensors").read_bytes() == (
        tiny_model_dir / "model.safetensors"
    ).read_bytes()
    assert missing.startswith("bad_data")
    unknown = said(started(RESOLVE, "other/model", HF_HUB_OFFLINE="1", HF_ENDPOINT=endpoint, **home))
    assert "hf download other/model" in unknown


def test_a_gated_model_says_what_to_do_and_is_not_tried_again(tiny_model_dir: Path, tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    with hub(tiny_model_dir, "gated/tiny") as endpoint:
        without = said(started(RESOLVE, "gated/tiny", HF_ENDPOINT=endpoint, **home))
        wrong = said(started(RESOLVE, "gated/tiny", HF_ENDPOINT=endpoint, HF_TOKEN="wrong-secret", **home))
        right = said(started(RESOLVE, "gated/tiny", HF_ENDPOINT=endpoint, HF_TOKEN=TOKEN, **home))
    for refusal in (without, wrong):
        assert refusal.startswith("bad_data models[0].id = 'gated/tiny'")
        assert "accept its licence" in refusal
        assert "HF_TOKEN" in refusal
        assert "secret" not in refusal
    assert right.startswith(COMMIT)
    kept = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert TOKEN.encode() not in kept
