"""An S3 server on this machine, and a proxy in front of it that counts and fails requests: real processes both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pyarrow import fs as pafs

from study.store.files import Files
from tests.support.tiny_world import REPOSITORY

BUCKET = "studies"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Proxy:
    """Counts what passes it, and fails a share."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def counts(self) -> dict[str, int]:
        """Requests by kind, and faults by kind, since the last call."""
        return dict(self._ask("counts"))

    def deny(self, status: int, code: str, part: str) -> None:
        self._ask(f"deny/{status}/{code}/{quote(part)}")

    def fail(self, share: float) -> None:
        self._ask(f"share/{share}")

    def slow(self, seconds: float) -> None:
        """Have every request take so much longer."""
        self._ask(f"late/{seconds}")

    def slow_listings(self, seconds: float) -> None:
        self._ask(f"slow/{seconds}")

    def _ask(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/{what}") as answer:
            return json.load(answer)


class _Replacing:
    """A filesystem on which somebody replaces the first file that is opened before it is read."""

    def __init__(self, real: pafs.FileSystem, replace: Callable[[], None]) -> None:
        self._real, self._replace = real, [replace]

    def open_input_file(self, path: str) -> Any:
        opened = self._real.open_input_file(path)
        if self._replace:
            self._replace.pop()()
        return opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def replaced_after_it_is_opened(store: Files, replace: Callable[[], None]) -> None:
    """Let the next file of a store that is read be replaced after its size is known."""
    store.check_reachable()
    real = store.fs
    store._fs = _Replacing(getattr(real, "_real", real), replace)


@contextmanager
def s3_server() -> Iterator[int]:
    """Port of moto's server, a process of its own, with an empty bucket."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            line = next(line for line in server.stdout if "Running on http" in line)
            port = int(line.strip().rsplit(":", 1)[1])
            keys = {"access_key": CREDENTIALS["AWS_ACCESS_KEY_ID"], "secret_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"]}
            admin = pafs.S3FileSystem(endpoint_override=f"http://127.0.0.1:{port}", allow_bucket_creation=True, **keys)
            admin.create_dir(BUCKET)
            with open(os.devnull, "wb") as nowhere:
                drain = subprocess.Popen(["cat"], stdin=server.stdout, stdout=nowhere)  # else its log fills the pipe
            yield port
        finally:
            server.terminate()
            server.wait()
            drain.wait()


@contextmanager
def proxy(port: int, share: float = 0.0, seed: int = 1) -> Iterator[Proxy]:
    """A proxy before the server on that port that fails a share of requests, drawn by the seed."""
    command = [sys.executable, "-m", "tests.support.faulty_proxy", str(port), str(share), str(seed)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Proxy(int(process.stdout.readline()))
        finally:
            process.terminate()
