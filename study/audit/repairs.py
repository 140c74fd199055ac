"""Repairs of a store: they move damaged files aside and remove useless ones, and touch nothing that is whole."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from study.store import schema
from study.store.files import PROBE
from study.store.layout import DAMAGED, ITEMS, SCORES, new_part, rows_in
from study.store.parquet import to_bytes
from study.store.store import Store

_COMPARED = "base_compared"


def set_aside(store: Store, file: str) -> None:
    """Move a file out of the way, so that the next run makes what was in it again."""
    store.write(f"{DAMAGED}/{file}", store.read(file))
    store.delete(file)


def drop(store: Store, folder: str) -> None:
    """Remove a folder of an adapter that was never finished."""
    for file in store.files(folder, "", recursive=True):
        store.delete(file)
    if store.is_local:
        store.fs.delete_dir(store.path(folder))


def undo(store: Store, score_ids: set[str]) -> None:
    """Remove scores, then their items, so that the next run makes them again."""
    for folder, like in ((SCORES, schema.SCORES), (ITEMS, schema.ITEMS)):
        for file in store.files(folder, ".parquet"):
            leave_out(store, file, like, score_ids)


def doubt(store: Store, score_ids: set[str]) -> None:
    """Have scores say that their base was not what was loaded, as far as anybody knows."""
    for file in store.files(SCORES, ".parquet") if score_ids else ():
        part = pq.ParquetFile(store.opened(file)).read()
        if _COMPARED not in part.column_names:
            part = part.append_column(_COMPARED, pa.nulls(part.num_rows, pa.bool_()))
        stated, wrong = part.column(_COMPARED), pc.is_in(part.column("score_id"), pa.array(sorted(score_ids)))
        wrong = pc.and_(wrong, pc.invert(pc.fill_null(stated, False)))
        said = pc.if_else(wrong, False, stated)
        if said.null_count < stated.null_count:
            _replace(store, file, schema.SCORES, part.set_column(part.column_names.index(_COMPARED), _COMPARED, said))


def leave_out(store: Store, file: str, like: pa.Schema, score_ids: set[str]) -> None:
    """Replace a part by one without some scores' rows; only delete it when no row is left."""
    if not store.exists(file):
        return
    part = pq.ParquetFile(store.opened(file)).read()
    kept = part.filter(pc.invert(pc.is_in(part.column("score_id"), pa.array(sorted(score_ids)))))
    if kept.num_rows == 0:
        store.delete(file)
    elif kept.num_rows < part.num_rows:
        _replace(store, file, like, kept)


def _replace(store: Store, file: str, like: pa.Schema, rows: pa.Table) -> None:
    data = to_bytes(rows.replace_schema_metadata(like.metadata))
    store.write(new_part(file.rpartition("/")[0], data, None if rows_in(file) is None else rows.num_rows), data)
    store.delete(file)


def temporary(store: Store) -> list[str]:
    """List the files that a writer did not finish, or with which a run tried whether it may write."""
    root = store.path("")
    found = store.fs.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
    files = (info.path[len(root) :] for info in found if info.type == pafs.FileType.File)
    names = ((file, file.rpartition("/")[2]) for file in files)
    return sorted(f for f, name in names if name[0] == "." and (name.endswith(".tmp") or name.startswith(PROBE)))
