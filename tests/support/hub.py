"""A server that plays the Hub for a model folder: what huggingface_hub asks of it, counted; a process of its own.

`python -m tests.support.hub FOLDER REPO` prints its port. `GET /-/counts` tells how often each file was downloaded
since it was last asked. A repository whose name begins with `gated/` is refused without the token `let-me-in`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "let-me-in"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    repo: str
    counts: Counter[str]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/-/counts":
            self._json(dict(self.counts))
            self.counts.clear()
        elif not path.removeprefix("/api/models").startswith(f"/{self.repo}"):
            self._error(404, "RepoNotFound")
        elif self.repo.startswith("gated/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(403 if "Authorization" in self.headers else 401, "GatedRepo")
        elif path.startswith("/api/models/") and "/tree/" in path:
            self._json(
                [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": _etag(f)} for f in self._files()]
            )
        elif path.startswith("/api/models/"):
            files = [{"rfilename": file.name} for file in self._files()]
            self._json({"id": self.repo, "sha": COMMIT, "siblings": files, "private": False, "gated": False})
        else:
            self._file(self.folder / path.rsplit("/", 1)[1])

    do_HEAD = do_GET

    def _files(self) -> list[Path]:
        return sorted(file for file in self.folder.iterdir() if file.is_file())

    def _file(self, file: Path) -> None:
        if not file.is_file():
            return self._error(404, "EntryNotFound")
        data, start, end = file.read_bytes(), 0, file.stat().st_size
        wanted = self.headers.get("Range")
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = int(first or 0), min(end, int(last) + 1) if last else end
        elif self.command == "GET":
            self.counts[file.name] += 1
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{_etag(file)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self._body(data[start:end])

    def _json(self, value: object) -> None:
        self.counts["api"] += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self._body(json.dumps(value).encode())

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self._body(b"{}")

    def _body(self, data: bytes) -> None:
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: downloads are counted."""


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def main(folder: str, repo: str) -> None:
    Handler.folder, Handler.repo, Handler.counts = Path(folder), repo, Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
