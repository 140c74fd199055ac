"""The data that a study's tasks read, as their definitions name them: known before any of it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as READERS

from study.config import TrainOverride
from study.models.hub import Repository

Definition = Mapping[str, object]
_ON_THE_HUB = "hf://datasets/"
logging.getLogger("datasets.packaged_modules").setLevel(logging.CRITICAL)  # errors of files are raised, and told once


def far(read: Sequence[tuple[Definition, TrainOverride[str]]]) -> tuple[list[Repository], list[str]]:
    """List the sets on the Hub, and the addresses of files elsewhere, of tasks and of what is trained on instead."""
    repositories, addresses = dict[Repository, None](), dict[str, None]()
    for definition, train in read:
        kwargs = definition.get("dataset_kwargs")
        options = kwargs if isinstance(kwargs, Mapping) else {}
        for path, revision in (
            (definition.get("dataset_path"), options.get("revision")),
            (train.dataset_path, train.dataset_revision),
        ):
            if isinstance(path, str) and path not in READERS and not Path(path).exists():
                repositories[Repository(path, None if revision is None else str(revision))] = None
        named = [*_texts(options.get("data_files")), *_texts(train.data_files)]
        for file in (name for name in named if "://" in name):
            if file.startswith(_ON_THE_HUB):
                repositories[_repository(file.removeprefix(_ON_THE_HUB))] = None
            else:
                addresses[file] = None
    return list(repositories), list(addresses)


def is_empty(file: Path) -> bool:
    """Whether a file holds nothing but white space; it may be large."""
    with file.open("rb") as source:
        return not any(piece.strip() for piece in iter(lambda: source.read(1 << 20), b""))


def _repository(name: str) -> Repository:
    """The set of a file `owner/name@revision/…`."""
    owner, _, rest = name.partition("/")
    called, _, revision = rest.partition("/")[0].partition("@")
    return Repository(f"{owner}/{called}", revision or None)


def _texts(files: object) -> Iterator[str]:
    """The names in `data_files`, which is one, a list, or one or a list for each split."""
    if isinstance(files, str):
        yield files
    elif isinstance(files, Mapping | list):
        for one in files.values() if isinstance(files, Mapping) else files:
            yield from _texts(one)
