"""Whether a report is still what its study says: what it was made of is noted beside it, once all of it is written.

Made of: the files of the store, the command's options, this program and the libraries it draws and computes with. Where
none of them has changed since, nor any file of the report, writing it again would give the same. Imports nothing heavy.
Files come and go while a study runs: one that has gone by the time it is looked at is one that has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import study
from study.store.layout import CHECKPOINTS, FAILURES, INDEX, LEASE, LOGS

NOTE = "made_from.json"
REPORT = "report"
NOT_READ = (CHECKPOINTS, INDEX, LEASE, LOGS, REPORT)
CACHE, GONE = "__pycache__", "gone"
LIBRARIES = ("polars", "numpy", "scipy", "altair", "vl-convert-python", "pyarrow")


def made_of(store: Path, options: Mapping[str, object]) -> str:
    """A digest of all that the report of a local store is made of, with these options."""
    found = hashlib.sha256()
    parts = (dict(options), sys.version, [version(name) for name in LIBRARIES], str(store.resolve()))
    found.update(json.dumps(parts, sort_keys=True).encode())
    for package in (Path(__file__).parents[1], Path(study.__path__[0])):
        for _, file in _files(package, ()):
            found.update(file.read_bytes())
    for name, file in _files(store, NOT_READ):
        found.update(f"{name}\0{_content(file) if _is_written_again(name) else _stamp(file)}\0".encode())
    return found.hexdigest()


def lines_of(out: Path, digest: str) -> list[str] | None:
    """The lines of the report in a folder, if it is made of this, and nobody has changed it."""
    try:
        note = json.loads((out / NOTE).read_bytes())
        same = note["made_of"] == digest and note["files"] == _written(out)
        return list(note["lines"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(out: Path) -> None:
    """The report in a folder is about to be written."""
    (out / NOTE).unlink(missing_ok=True)


def note(out: Path, digest: str, lines: list[str]) -> None:
    """A report is written. Where that cannot be noted it is written again the next time."""
    text = json.dumps({"made_of": digest, "lines": lines, "files": _written(out)})
    with suppress(OSError):
        (out / NOTE).write_text(text, encoding="utf-8")


def _written(out: Path) -> dict[str, str]:
    return {name: _stamp(file) for name, file in _files(out, ()) if name != NOTE}


def _files(folder: Path, without: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """All files below a folder, by their names there, in order; not those that are being written, and no report's."""
    for here, folders, files in os.walk(folder):
        inside = Path(here)
        if inside != folder and NOTE in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name != CACHE and (inside != folder or name not in without))
        for name in sorted(files):
            if not name.startswith("."):
                yield (inside / name).relative_to(folder).as_posix(), inside / name


def _is_written_again(name: str) -> bool:
    """Whether a run that has nothing to do writes a file of the store once more."""
    return "/" not in name or name.startswith(f"{FAILURES}/")


def _content(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return GONE


def _stamp(file: Path) -> str:
    try:
        seen = file.stat()
    except OSError:
        return GONE
    return f"{seen.st_size} {seen.st_mtime_ns}"
