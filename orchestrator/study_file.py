"""study.yaml: what a store says of the study it holds."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from orchestrator.planning.grid import Grid
from study.config import StudyConfig
from study.store import contents
from study.store.layout import STUDY_FILE
from study.store.store import Store

STACK = ("torch", "transformers", "peft", "deepspeed", "ray", "lm-eval", "datasets", "pyarrow")


def write_study(store: Store, config: StudyConfig, grid: Grid) -> None:
    """study.yaml: the resolved config, the models it found, versions, commit. No secret: the config has none."""
    resolved = {
        "config": config.model_dump(mode="json"),
        "models": [
            {name: getattr(m, name) for name in ("name", "revision", "identity", "dtype", "params", "embedded")}
            for m in grid.models
        ],
        "adapters": [
            {"name": a.name, "adapter_id": a.adapter_id, "model": a.model, "folder": a.folder} for a in grid.existing
        ],
        "versions": {name: version(name) for name in STACK},
        "commit": _commit(),
    }
    store.write(STUDY_FILE, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True).encode())


def read_study(store: Store) -> dict[str, Any] | None:
    """What a store's study.yaml says; None where there is none. Raises Damaged."""
    if not store.exists(STUDY_FILE):
        return None
    data = store.read(STUDY_FILE)
    with contents.reading(STUDY_FILE):
        return contents.study(data)


def _commit() -> str | None:
    """The commit of this program, where it runs from a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None
