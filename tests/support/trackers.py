"""What trackers have left on disk, read back: (name, step, value)."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from wandb.proto.wandb_internal_pb2 import Record

Logged = list[tuple[str, int, float]]
BLOCK = 1 << 15


def tensorboard(folder: Path) -> Logged:
    seen = []
    for file in sorted(folder.rglob("events*")):
        data, at = file.read_bytes(), 0
        while at < len(data):  # length, its checksum, the event, its checksum
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            seen += [(value.tag, int(event.step), float(value.simple_value)) for value in event.summary.value]
            at += 16 + length
    return seen


def mlflow(folder: Path) -> Logged:
    with sqlite3.connect(folder / "mlflow.db") as database:
        return [(key, step, value) for key, value, step in database.execute("select key, value, step from metrics")]


def wandb(folder: Path) -> Logged:
    """Each number with the step of its axis, epochs or seconds."""
    seen: Logged = []
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for data in _records(file.read_bytes()):
            record = Record.FromString(data)
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            step = row.get("epoch", row.get("seconds", 0))
            seen += [(name, step, value) for name, value in row.items() if "/" in name]
    return seen


def _records(data: bytes) -> list[bytes]:
    """A LevelDB log after a header of 7 bytes: checksum, length, kind (1 whole; 2, 3, 4 begin, middle, end), data."""
    records, parts, at = [], b"", 7
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            records.append(parts)
            parts = b""
    return records
