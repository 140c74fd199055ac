"""What is installed: all that pyproject.toml asks for is in lock.txt, by hash, and what has another hash is refused."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.tiny_world import REPOSITORY

ENTRY = re.compile(
    r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ;]+)( ; [^\\]*)?(?P<hashes>( \\\n +--hash=sha256:[0-9a-f]{64})+)$"
)


def entries(lock: str = "lock.txt") -> dict[str, list[re.Match[str]]]:
    found: dict[str, list[re.Match[str]]] = {}
    for text in re.split(r"\n(?=[a-z0-9])", (REPOSITORY / lock).read_text().strip()):
        entry = ENTRY.match(text)
        assert entry, text
        found.setdefault(entry["name"], []).append(entry)
    return found


def asked() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    texts = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(t for some in extras for t in some),
    ]
    return [one for one in map(Requirement, texts) if one.name != project["project"]["name"]]


def test_all_that_is_asked_for_is_locked_at_a_version_that_fits() -> None:
    locked = entries()
    for requirement in asked():
        found = locked.get(canonicalize_name(requirement.name), [])
        assert found, f"{requirement}: ./install.sh renew"
        assert all(requirement.specifier.contains(entry["version"]) for entry in found), requirement
    assert {"torch", "triton", "nvidia-nccl-cu13", "setuptools", "uv"} <= locked.keys()
    wheels = [entry["hashes"].count("sha256") for entry in locked["torch"]]
    assert min(wheels) > 4  # of several machines and versions of Python


def test_what_looks_for_vulnerabilities_is_locked_too() -> None:
    """`make audit` installed whatever was newest, by no hash."""
    assert "pip-audit" in entries("audit.txt")
    (line,) = [line for line in (REPOSITORY / "Makefile").read_text().splitlines() if "audit/bin/pip install" in line]
    assert "pip install -q --no-deps --require-hashes -r audit.txt;" in line


def make_wheel(folder: Path, name: str, version: str) -> str:
    """The smallest package that pip installs; returns its line of a lock."""
    file, about = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


@pytest.mark.processes
def test_what_has_another_hash_is_refused(tmp_path: Path) -> None:
    wheels, project = tmp_path / "wheels", tmp_path / "project"
    wheels.mkdir()
    project.mkdir()
    shutil.copy(REPOSITORY / "install.sh", project)
    (project / "pyproject.toml").write_text('dependencies = [\n    "torch==1.0",\n]\n')
    lines = [make_wheel(wheels, name, "1.0") for name in ("setuptools", "thing", "other")]
    wrong = lines[1].replace(lines[1][-10:-1], "0" * 9)
    (project / "lock.txt").write_text(f"{lines[0]}{wrong}{lines[2]}")
    environment = {**os.environ, "PYTHON": sys.executable, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    environment |= {"PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(["./install.sh"], cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "fix: if hashes do not match" in done.stderr
    site = next((project / ".venv" / "lib").glob("python3*/site-packages"))
    assert (site / "setuptools-1.0.dist-info").is_dir()  # its hash was right
    assert not (site / "other-1.0.dist-info").exists()
    assert not list((project / ".venv").glob(".installed*"))


@pytest.mark.processes
@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("renwe", 2)])
def test_a_word_that_it_does_not_know_installs_nothing(word: str, code: int, tmp_path: Path) -> None:
    for name in ("install.sh", "pyproject.toml", "lock.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        ["./install.sh", word], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "./install.sh renew" in done.stdout + done.stderr
    assert not (tmp_path / ".venv").exists()
