"""The folder that is published: a folder per adapter, and one of results, each as its repository on the Hub will be.

Invariant: only a folder that is empty, or that this module has written, is written to; `publish.json` says what is in
it, and is there before anything else, so that what broke off is known as ours and written anew. What an earlier one has
and this has not is removed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from study.errors import ConfigError

MARK = "publish.json"
NEW = f"{MARK}.new"  # until it is whole
MADE_BY = "analysis.publish"


@dataclass(frozen=True)
class Repository:
    """A folder of the tree and what it is on the Hub: a `model` or a `dataset` of a name."""

    name: str
    kind: str
    folder: str


@dataclass
class Tree:
    """The folder; `pushed` are full names on the Hub that were, or may have been, made for it."""

    root: Path
    repositories: list[Repository] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, root: Path) -> Tree:
        """Take a folder; ConfigError where it holds what is not ours."""
        if root.is_symlink() or (root.exists() and not root.is_dir()):
            raise ConfigError("--to", root, "is no folder", "name another place")
        with writing(root):
            there = {path.name for path in root.iterdir()} - {NEW} if root.is_dir() else set()
            tree = cls(root, pushed=_pushed(root) if there else [])
            root.mkdir(parents=True, exist_ok=True)
            tree.keep()
            for name in ("adapters", "results"):
                if (root / name).is_dir() and not (root / name).is_symlink():
                    shutil.rmtree(root / name)
        return tree

    def add(self, kind: str, name: str) -> Path:
        """A folder for a repository."""
        folder = f"adapters/{name}" if kind == "model" else "results"
        self.repositories.append(Repository(name, kind, folder))
        place = self.root / folder
        with writing(self.root):
            place.mkdir(parents=True)
        return place

    def keep(self) -> None:
        """Write down what is in it, and what was pushed."""
        stated = {
            "made_by": MADE_BY,
            "repositories": [asdict(one) for one in self.repositories],
            "pushed": sorted(self.pushed),
        }
        with writing(self.root):
            (self.root / NEW).write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
            (self.root / NEW).replace(self.root / MARK)

    @property
    def files(self) -> Sequence[Path]:
        return [
            file for one in self.repositories for file in sorted((self.root / one.folder).rglob("*")) if file.is_file()
        ]


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Raise ConfigError for a folder that cannot be written to: its disk is full, or it is not ours to write."""
    try:
        yield
    except OSError as error:
        fix = "make space there, or name another folder; the same command then writes it anew"
        raise ConfigError("--to", root, f"cannot be written ({error.strerror or error})", fix) from error


def _pushed(root: Path) -> list[str]:
    try:
        stated = json.loads((root / MARK).read_text(encoding="utf-8"))
        if stated["made_by"] == MADE_BY:
            return [str(name) for name in stated["pushed"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ConfigError("--to", root, "there is something in it that is not of this command", "name an empty folder")
