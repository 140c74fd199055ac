"""A server that takes what huggingface_hub pushes: repositories, and the files of commits. A thread of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

TOKEN = "let-me-in"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Taken:
    """What it has by `models/owner/name` or `datasets/owner/name`; `full` after so many repositories.

    Where it is `silent` it makes a repository and does not answer.
    """

    port: int = 0
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    full: int = 1_000
    silent: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def taking() -> Iterator[Taken]:
    taken = Taken()
    handler = type("Handler", (_Handler,), {"taken": taken})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        taken.port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        yield taken
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    taken: Taken

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/api/")
        name, _, tree = path.partition("/tree/")
        if tree:
            files = self.taken.files[name]
            return self._answer([{"type": "file", "path": one, "size": len(files[one]), "oid": "0"} for one in files])
        name = path.partition("/revision/")[0]
        there = name in self.taken.private
        return self._answer({"id": name.partition("/")[2], "sha": COMMIT} if there else {}, 200 if there else 404)

    def do_PUT(self) -> None:
        name, _, what = urlsplit(self.path).path.removeprefix("/api/").rpartition("/")
        assert what == "settings"
        self.taken.private[name] = json.loads(self._body())["visibility"] == "private"
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        path = urlsplit(self.path).path.removeprefix("/api/")
        if path == "validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid user token"}, 401)
        if path == "repos/create":
            return self._create(json.loads(body))
        name, _, what = path.partition("/preupload/") if "/preupload/" in path else path.partition("/commit/")
        assert what == "main"
        if "/preupload/" in path:
            files = [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            return self._answer({"files": files})
        for line in body.splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                self.taken.files[name][row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            if row["key"] == "deletedFile":
                del self.taken.files[name][row["value"]["path"]]
        return self._answer({"commitUrl": f"{self.taken.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _create(self, asked: dict[str, object]) -> None:
        owner = f"{asked['organization']}/" if asked.get("organization") else "me/"
        name = f"{asked.get('type') or 'model'}s/{owner}{asked['name']}"
        if len(self.taken.private) >= self.taken.full:
            return self._answer({"error": "quota"}, 403)
        url = f"{self.taken.url}/{name.partition('/')[2]}"
        if name in self.taken.private:
            return self._answer({"error": "exists", "url": url}, 409)
        self.taken.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.taken.files[name] = {}
        if self.taken.silent:
            self.close_connection = True
            return None
        return self._answer({"url": url})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _answer(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""
