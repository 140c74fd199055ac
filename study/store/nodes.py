"""Nodes of a cluster that a study uses no more, by a file each: who deletes it takes the node back."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from study.store.files import Files
from study.store.layout import EXCLUDED


def exclude(store: Files, node: str) -> None:
    text = json.dumps({"node": node, "excluded_at": datetime.now(UTC).isoformat(timespec="seconds")})
    store.write(f"{EXCLUDED}/{node}.json", text.encode())


def take_back(store: Files, node: str) -> None:
    store.delete(f"{EXCLUDED}/{node}.json")


def excluded(store: Files) -> list[str]:
    return [name.rsplit("/", 1)[1].removesuffix(".json") for name in store.files(EXCLUDED, ".json")]
