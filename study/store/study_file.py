"""study.yaml: the file in which a store describes the study that it holds. It has no secret: a config has none."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import yaml

from study.store.contents import reading
from study.store.layout import STUDY_FILE
from study.store.records import StudyFile
from study.store.store import Store

STACK = ("torch", "transformers", "peft", "deepspeed", "ray", "lm-eval", "datasets", "pyarrow")


def write_study(store: Store, study: StudyFile) -> None:
    store.write(STUDY_FILE, yaml.safe_dump(study.to_json(), sort_keys=False, allow_unicode=True).encode())


def read_study(store: Store) -> StudyFile | None:
    """Read a store's study.yaml; None where there is none. Raises Damaged."""
    if not store.exists(STUDY_FILE):
        return None
    data = store.read(STUDY_FILE)
    with reading(STUDY_FILE):
        return StudyFile.from_bytes(data)


def entries(config: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    """The mappings of a list of a study's config, which any release may have written; none where there is no list."""
    some = config.get(key)
    return [one for one in some if isinstance(one, Mapping)] if isinstance(some, list | tuple) else []


def versions() -> dict[str, str]:
    """State the versions of the libraries that decide results."""
    return {name: version(name) for name in STACK}


def commit() -> str | None:
    """Find the commit of this program, where it runs from a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None
