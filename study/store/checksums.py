"""The checksums of an adapter that was made elsewhere, noted when it is put into the store: it has no record."""

from __future__ import annotations

import hashlib
import json

from study.store.contents import Damaged, mapping
from study.store.layout import CHECKSUMS_FILE, CONFIG_FILE, WEIGHTS_FILE
from study.store.store import Store

FILES = (WEIGHTS_FILE, CONFIG_FILE)


def note(store: Store, folder: str) -> None:
    """Note what the files of an adapter are now, unless that is noted already."""
    file = f"{folder}/{CHECKSUMS_FILE}"
    if not store.exists(file):
        sums = {name: hashlib.sha256(store.read(f"{folder}/{name}")).hexdigest() for name in FILES}
        store.write(file, json.dumps(sums, indent=1).encode())


def changed(store: Store, folder: str) -> str | None:
    """The name of a file that is another than was noted; None where all are as they were, or nothing is noted."""
    file = f"{folder}/{CHECKSUMS_FILE}"
    if not store.exists(file):
        return None
    try:
        noted = mapping(store.read(file))
    except Damaged:
        return CHECKSUMS_FILE
    for name in FILES:
        if hashlib.sha256(store.read(f"{folder}/{name}")).hexdigest() != noted.get(name):
            return name
    return None
