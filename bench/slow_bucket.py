"""A bucket that serves a folder, and waits before each answer.

`python -m bench.slow_bucket FOLDER SECONDS` prints its port. It lists, as S3 does, a thousand names at a time, and
answers HEAD and GET, also of ranges: enough to read a store. What it counts is told under `/-/counts`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
Entry = tuple[str, int, float]  # key, size, time


@cache
def entries(folder: Path) -> list[Entry]:
    """All files below a folder, sorted by name."""
    found = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    stats = ((file, file.stat()) for file in found)
    return sorted((file.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime) for file, stat in stats)


class Handler(BaseHTTPRequestHandler):
    """Keys are `bucket/name`; the bucket's name is any."""

    protocol_version = "HTTP/1.1"
    folder: Path
    wait_s: float
    counts: ClassVar[Counter[str]] = Counter()

    def do_HEAD(self) -> None:
        self._file(with_body=False)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/-/counts":
            data = json.dumps(self.counts).encode()
            self.counts.clear()
            self._answer(200, data)
        elif "list-type" in parts.query:
            self._list({name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()})
        else:
            self._file(with_body=True)

    def _file(self, with_body: bool) -> None:
        self._begin("GET" if with_body else "HEAD")
        file = self.folder / unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]
        if not file.is_file():
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>" if with_body else b"")
        size, about = (
            file.stat().st_size,
            {"Last-Modified": formatdate(file.stat().st_mtime, usegmt=True), "ETag": '"1"'},
        )
        first, last = 0, size - 1
        if asked := self.headers.get("Range"):
            first, last = (int(text) for text in asked.removeprefix("bytes=").split("-"))
            last = min(last, size - 1)
            about["Content-Range"] = f"bytes {first}-{last}/{size}"
        if not with_body:
            return self._answer(200, b"", about, size)
        with file.open("rb") as source:
            source.seek(first)
            return self._answer(206 if asked else 200, source.read(last - first + 1), about)

    def _list(self, asked: dict[str, str]) -> None:
        self._begin("LIST")
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        all_keys = [entry for entry in entries(self.folder) if entry[0].startswith(prefix)]
        start, most = int(asked.get("continuation-token", 0)), int(asked.get("max-keys", PAGE))
        page, more = all_keys[start : start + most], len(all_keys) > start + most
        folders = {
            prefix + key[len(prefix) :].split(delimiter)[0] + delimiter
            for key, *_ in page
            if self._in(key, prefix, delimiter)
        }
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size><LastModified>"
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))}</LastModified></Contents>"
            for key, size, at in page
            if not self._in(key, prefix, delimiter)
        )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        token = f"<NextContinuationToken>{start + most}</NextContinuationToken>" if more else ""
        text = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}{common}"
        data = f"<ListBucketResult>{text}</ListBucketResult>".encode()
        self._answer(200, data, {"Content-Type": "application/xml"})

    def _in(self, key: str, prefix: str, delimiter: str) -> bool:
        """Whether a listing shows a folder in the place of a key."""
        return bool(delimiter) and delimiter in key[len(prefix) :]

    def _begin(self, kind: str) -> None:
        self.counts[kind] += 1
        time.sleep(self.wait_s)

    def _answer(self, status: int, data: bytes, about: dict[str, str] | None = None, size: int | None = None) -> None:
        self.send_response(status)
        for name, value in (about or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if size is None else size))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: requests are counted."""


if __name__ == "__main__":
    Handler.folder, Handler.wait_s = Path(sys.argv[1]), float(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
