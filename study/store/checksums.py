"""The checksums of an adapter that was made elsewhere, noted when it is put into the store: it has no record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from study.store.contents import Damaged, mapping
from study.store.layout import CHECKSUMS_FILE
from study.store.store import Store


def note(store: Store, folder: str, names: Iterable[str]) -> None:
    """Note what files of an adapter are now, but for those that are noted already; damaged notes stay as they are."""
    file = f"{folder}/{CHECKSUMS_FILE}"
    try:
        noted = mapping(store.read(file)) if store.exists(file) else {}
    except Damaged:
        return
    if new := [name for name in names if name not in noted]:
        sums = {name: hashlib.sha256(store.read(f"{folder}/{name}")).hexdigest() for name in new}
        store.write(file, json.dumps({**noted, **sums}, indent=1).encode())


def changed(store: Store, folder: str) -> str | None:
    """The name of a file that is another than was noted; None where all are as they were, or nothing is noted.

    A file that is gone, or that nobody noted, is another.
    """
    file = f"{folder}/{CHECKSUMS_FILE}"
    if not store.exists(file):
        return None
    try:
        noted = mapping(store.read(file))
    except Damaged:
        return CHECKSUMS_FILE
    there = {path.rpartition("/")[2] for path in store.files(folder, "")} - {CHECKSUMS_FILE}
    for name in sorted(there | noted.keys()):
        if name not in there or hashlib.sha256(store.read(f"{folder}/{name}")).hexdigest() != noted.get(name):
            return name
    return None
