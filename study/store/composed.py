"""Adapters that are put together of others, as a store has them: plain folders with a record, which is written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from study.store import contents, schema
from study.store.contents import as_damaged, reading
from study.store.layout import ADAPTERS, COMPOSED_FILE, GRID_FILE
from study.store.records import StoredFile, now
from study.store.store import Store


@dataclass(frozen=True)
class Pair:
    """How the updates of two parts, named by their numbers, lie to one another as they were trained.

    That is the cosine of their ΔW, the smaller norm by the larger, and the share of entries, of those that both change,
    whose signs differ. Their weights do not count. Parts that share no module have cosine and conflicts 0.
    """

    first: int
    second: int
    cosine: float
    norm_ratio: float
    sign_conflicts: float


@dataclass(frozen=True)
class Weighted:
    """A part: its adapter_id and folder, and what it counts (study.composition.Term)."""

    adapter_id: str
    folder: str
    weight: float
    layers: tuple[float, ...] = ()
    outside: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ComposedRecord:
    """What a composed adapter is. `parameters` are the method's.

    `norm` is the Frobenius norm of its ΔW, `truncation` the relative error of what was written, both None where it has
    no matrices of its own; `truncations` is that of each module that lost anything. `rank` is its largest.
    """

    adapter_id: str
    model: str
    name: str
    seed: int | None
    method: str
    parameters: Mapping[str, object]
    terms: tuple[Weighted, ...]
    norm: float | None
    truncation: float | None
    rank: int
    truncations: Mapping[str, float] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    written_at: str = field(default_factory=now)

    @classmethod
    def from_bytes(cls, data: bytes) -> ComposedRecord:
        """Parse composition.json. Raises Damaged."""
        read = contents.mapping(data)
        with as_damaged(KeyError, TypeError, ValueError, AttributeError):
            known = {name: read[name] for name in cls.__dataclass_fields__ if name in read}
            return cls(
                **known
                | {
                    "terms": tuple(Weighted(**term | {"layers": tuple(term["layers"])}) for term in read["terms"]),
                    "pairs": tuple(Pair(**pair) for pair in read.get("pairs", ())),
                    "files": {str(name): StoredFile(**file) for name, file in read["files"].items()},
                }
            )

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def put(store: Store, folder: str, files: Mapping[str, bytes] | Path, record: ComposedRecord) -> None:
    """Put an adapter's files, or those of a local folder, into the store; last its record, with their checksums."""
    if isinstance(files, Path):
        known = store.put_files(folder, files)
    else:
        for name, data in files.items():
            store.write(f"{folder}/{name}", data)
        known = {name: StoredFile(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    whole = replace(record, files=known)
    text = json.dumps(whole.to_json(), indent=1, sort_keys=True, allow_nan=False)
    store.write(f"{folder}/{COMPOSED_FILE}", text.encode())


def records(store: Store) -> dict[str, ComposedRecord]:
    """Read the record of each, by adapter_id. Raises Damaged."""
    found = {}
    for file in store.listed(ADAPTERS, f"/{COMPOSED_FILE}", recursive=True):
        data = store.read(file.path)
        with reading(file.path):
            record = ComposedRecord.from_bytes(data)
        found[record.adapter_id] = record
    return found


def compositions(store: Store) -> pa.Table:
    """Read which of the current config's subjects are such, as schema.COMPOSITIONS. Raises Damaged, OtherVersion."""
    row = _grid(store, "compositions")
    return (
        schema.COMPOSITIONS.empty_table() if row is None else contents.listed(row, "compositions", schema.COMPOSITIONS)
    )


def recipes(store: Store) -> pa.Table:
    """Read by which of several recipes its adapters are trained, as schema.RECIPES. Raises Damaged, OtherVersion."""
    row = _grid(store, "recipes")
    return schema.RECIPES.empty_table() if row is None else contents.listed(row, "recipes", schema.RECIPES)


def held_out(store: Store) -> list[str]:
    """Read the target_ids of the items on which a lambda is chosen. Raises Damaged, OtherVersion."""
    row = _grid(store, "held_out")
    return [] if row is None else [str(name) for name in row.column("held_out")[0].as_py()]


def starts(store: Store) -> pa.Table:
    """Read which adapters of the current config begin with others, as schema.STARTS. Raises Damaged, OtherVersion."""
    row = _grid(store, "starts")
    return schema.STARTS.empty_table() if row is None else contents.listed(row, "starts", schema.STARTS)


def _grid(store: Store, column: str) -> pa.Table | None:
    """The one row of the grid; None without a grid, or where an older release wrote it without that column."""
    if not store.exists(GRID_FILE):
        return None
    data = store.read(GRID_FILE)
    with reading(GRID_FILE):
        row = contents.table(GRID_FILE, schema.GRID, data)
    return row if column in row.column_names and not row.column(column).null_count else None
