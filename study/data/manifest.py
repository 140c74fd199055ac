"""Manifests: a CSV with the columns split,id that fixes which rows are trained on and which are scored."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from study.errors import ConfigError

SPLITS = ("train", "test")


class ManifestError(Exception):
    """A file that is no manifest, or one that names rows that the data does not have."""


def row_id(document: Mapping[str, object], index: int, field: str | None = None) -> str:
    """Name a document as manifests do: by a field, else by its `id`, or its number in the split where it has none.

    Raises ManifestError for a field that it does not have.
    """
    if field is not None and field not in document:
        raise ManifestError(f"train.id_field: {field!r} is no column of the data; columns are {', '.join(document)}")
    field = field or "id"
    return str(document[field]) if field in document else str(index)


def positions(
    manifest: str | None, split: str, documents: Sequence[Mapping[str, object]], field: str | None = None
) -> list[int]:
    """Find the documents that a manifest names for a split: their numbers, in the manifest's order.

    Without a manifest, or where it names none of this split, these are all documents in order. Raises ManifestError
    and OSError.
    """
    wanted = _ids(manifest, split) if manifest is not None else []
    if not wanted:
        return list(range(len(documents)))
    _check_once(f"{manifest}: {split} ids that stand there more than once", wanted)
    rows = [row_id(document, index, field) for index, document in enumerate(documents)]
    asked = set(wanted)
    named = [row for row in rows if row in asked]
    _check_once(f"{manifest}: {split} ids that several rows of the data have", named)
    known = {row: index for index, row in enumerate(rows)}
    missing = [row for row in wanted if row not in known]
    if missing:
        raise ManifestError(f"{manifest}: {len(missing)} {split} ids are not in the data, the first is {missing[0]!r}")
    return [known[row] for row in wanted]


def with_ids(ids: Sequence[str], documents: Sequence[Mapping[str, object]], field: str | None = None) -> list[int]:
    """Find the documents of these ids: their numbers, in the order of the ids; those that none has are passed over.

    Raises ManifestError for an id that several rows have.
    """
    rows = [row_id(document, index, field) for index, document in enumerate(documents)]
    asked = set(ids)
    _check_once("train.rows_of: ids that several rows of the data have", [row for row in rows if row in asked])
    known = {row: index for index, row in enumerate(rows)}
    return [known[one] for one in ids if one in known]


def not_there(manifest: str | None, key: str) -> ConfigError | None:
    """The error of a key whose manifest is no file."""
    if manifest is None or Path(manifest).is_file():
        return None
    problem, fix = f"no such file (working directory: {Path.cwd()})", "name a CSV with the columns split,id"
    return ConfigError(key, manifest, problem, fix)


def _check_once(what: str, ids: Sequence[str]) -> None:
    if twice := [row for row, count in Counter(ids).items() if count > 1]:
        raise ManifestError(f"{what}: {len(twice)}, the first is {twice[0]!r}")


def _ids(manifest: str, split: str) -> list[str]:
    try:
        with Path(manifest).open(newline="", encoding="utf-8-sig") as source:  # Excel begins with a byte-order mark
            reader = csv.DictReader(source)
            if not {"split", "id"} <= set(reader.fieldnames or ()):
                raise ManifestError(f"{manifest}: a manifest is a CSV with the columns split,id")
            rows = [(row["split"], row["id"]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{manifest}: a manifest is a CSV in UTF-8 ({error})") from error
    if odd := next((row for row in rows if row[0] not in SPLITS or not row[1]), None):
        raise ManifestError(f"{manifest}: the row {odd[0]!r},{odd[1]!r} has no id of the split {' or '.join(SPLITS)}")
    if not rows:
        raise ManifestError(f"{manifest}: names no rows")
    return [name for part, name in rows if part == split]
