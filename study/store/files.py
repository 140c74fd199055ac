"""Files under one URI (local path, s3://, gs://, abfss://): written whole or not at all, and listed.

Every method raises StoreRefused when trying again cannot help: the place is full, or does not allow it.
Requests are what a bucket costs and waits for: many are under way at once, and a listing tells all it can.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs as pafs

from study.errors import ConfigError, StoreRefused, why
from study.store import pieces
from study.store.filesystem import ATTEMPTS, is_cut_short, is_full, is_refused, open_uri, trouble

AT_ONCE = 16  # requests to a bucket at the same time: one takes some 30 ms, whatever its size
PROBE = ".probe-"
PROBE_ATTEMPTS = 3  # a wrong address is told within seconds
REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EFBIG}
ONE_PUT = 8 << 20  # bytes; pyarrow begins an upload in parts when it has gathered 10 MiB


Some = TypeVar("Some")
Other = TypeVar("Other")


@dataclass(frozen=True)
class File:
    """A file as a listing shows it. `stamp` changes when the file is replaced; `size` is in bytes."""

    path: str
    stamp: str
    size: int = 0


class Files:
    """Cheap to make and to pickle: it holds the URI and opens the filesystem on first use. Paths are relative to it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri if "://" in uri else os.path.abspath(os.path.expanduser(uri))
        self._fs: pafs.FileSystem | None = None
        self._root = ""
        self._requests: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["uri"])  # type: ignore[misc]

    @property
    def fs(self) -> pafs.FileSystem:
        if self._fs is None:
            self._fs, self._root = open_uri(self.uri)
        return self._fs

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, pafs.LocalFileSystem)

    def path(self, relative: str) -> str:
        """Make the path of a file inside the store's filesystem."""
        _ = self.fs
        return f"{self._root.rstrip('/')}/{relative}"

    def check_reachable(self) -> None:
        """Ask for the store's place once. Raises ConfigError (key `store`) when it does not answer."""
        filesystem, root = open_uri(self.uri, PROBE_ATTEMPTS)
        try:
            found = filesystem.get_file_info(root)
        except (OSError, pa.ArrowException) as error:
            raise trouble(self.uri, error) from error
        if found.type == pafs.FileType.File:
            raise ConfigError("store", self.uri, "is a file, not a folder", "name another place")

    def check_writable(self) -> None:
        """Write and delete a small file; raises ConfigError (key `store`) when that fails."""
        probe = f"{PROBE}{uuid.uuid4().hex}"
        try:
            self.write(probe, b"ok")
            self.fs.delete_file(self.path(probe))
        except (OSError, pa.ArrowException) as error:
            raise trouble(self.uri, error) from error

    # -- bytes -------------------------------------------------------------------------------------------------------

    def write(self, relative: str, data: bytes) -> None:
        """Write a file so that readers see all of it or nothing."""
        with self.refusals():
            final = self.path(relative)
            if self.is_local:
                _replace(final, data)
            else:
                # in a thread of its own: what a signal raises here would close, and so publish, half a file
                self._pool.submit(self._put, final, data).result()

    def _put(self, path: str, data: bytes) -> None:
        # pyarrow closes every stream, and closing one whose upload was refused would put an empty file: so that of a
        # large one is granted before there is a stream; without all of its parts it is never completed
        filesystem = self.fs if len(data) <= ONE_PUT else self._fs_in_parts
        with filesystem.open_output_stream(path, compression=None) as out:
            pieces.write(out, data)

    @cached_property
    def _fs_in_parts(self) -> pafs.FileSystem:
        return open_uri(self.uri, in_parts=True)[0]

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._requests is None:
            self._requests = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store")
        return self._requests

    def each(self, task: Callable[[Some], Other], arguments: Iterable[Some]) -> Iterator[Other]:
        """Do a task with each argument, in order; on a bucket some are under way ahead of the one that is asked for."""
        if self.is_local:
            yield from map(task, arguments)
            return
        ahead: deque[Future[Other]] = deque()
        for argument in arguments:
            ahead.append(self._pool.submit(task, argument))
            if len(ahead) > AT_ONCE:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def read(self, relative: str) -> bytes:
        """Read a file as one writer wrote it; FileNotFoundError when it is not there."""
        for _ in range(ATTEMPTS):
            data, version = self._get(relative)
            if self.is_local or self._version(relative) == version:
                return data
        raise OSError(f"{self.path(relative)} is replaced faster than it can be read")

    def read_start(self, relative: str, size: int) -> bytes:
        """Read the first bytes of a file, or all when it has fewer; one that replaces it can spoil the last."""
        return self._get(relative, size)[0]

    def opened(self, relative: str) -> pa.NativeFile:
        """Open a file that nobody replaces, to read parts of it; from a bucket it comes whole."""
        if not self.is_local:
            return pa.BufferReader(self._get(relative)[0])
        return self.ranges(relative)

    def ranges(self, relative: str) -> pa.NativeFile:
        """Open a file that nobody replaces, of which a bucket is asked for what is read."""
        with self.refusals():
            return self.fs.open_input_file(self.path(relative))

    def _get(self, relative: str, most: int | None = None) -> tuple[bytes, object]:
        """Get a file's bytes, and the version that they are of.

        A bucket is asked for the size, then for as many bytes, in one request for each piece: of a version that was put
        meanwhile, pyarrow leaves out what is more, and makes up what is less or says that there is no such range.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self.refusals(), self.fs.open_input_file(self.path(relative)) as source:
                    size = source.size()
                    data = pieces.read(source, size if most is None else min(size, most))
                    return data, None if self.is_local else source.metadata()
            except OSError as error:
                if not is_cut_short(error) or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _version(self, relative: str) -> object:
        with self.refusals(), self.fs.open_input_file(self.path(relative)) as source:
            return source.metadata()

    def exists(self, relative: str) -> bool:
        with self.refusals():
            return bool(self.fs.get_file_info(self.path(relative)).type != pafs.FileType.NotFound)

    def delete(self, relative: str) -> None:
        """Delete one file; fine when it is not there, also when another process deletes it at the same time."""
        with suppress(FileNotFoundError), self.refusals():
            self.fs.delete_file(self.path(relative))

    def files(self, folder: str, suffix: str, recursive: bool = False) -> list[str]:
        """List the relative paths of the files below a folder, sorted, without those that are still being written."""
        return [file.path for file in self.listed(folder, suffix, recursive)]

    def listed(self, folder: str, suffix: str, recursive: bool = False) -> list[File]:
        """List the same files with their stamps."""
        root = self.path("")
        selector = pafs.FileSelector(self.path(folder), recursive=recursive, allow_not_found=True)
        with self.refusals():
            try:
                there = self.fs.get_file_info(selector)
            except FileNotFoundError:  # Arrow says so of a folder that is made just while it looks for it
                there = self.fs.get_file_info(selector)
        infos = [info for info in there if info.type == pafs.FileType.File]
        found = [File(i.path[len(root) :], f"{i.path[len(root) :]} {i.size} {i.mtime_ns}", i.size) for i in infos]
        shown = [f for f in found if f.path.endswith(suffix) and not f.path.rsplit("/", 1)[-1].startswith(".")]
        return sorted(shown, key=lambda file: file.path)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Raise StoreRefused for what the store refuses; what may work the next time stays as it is."""
        try:
            yield
        except StoreRefused:
            raise
        except OSError as error:
            if error.errno in REFUSED or is_refused(error):
                number = errno.ENOSPC if is_full(error) else error.errno
                raise StoreRefused(number, f"the store {self.uri} refuses to be used: {why(error)}") from error
            raise


def _replace(final: str, data: bytes) -> None:
    folder, name = final.rsplit("/", 1)
    os.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as out:
            pieces.write(out, data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, final)
    finally:
        with suppress(OSError):  # a disk that refuses the file may refuse its removal too
            os.remove(temporary)
