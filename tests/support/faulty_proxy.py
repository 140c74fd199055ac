"""An HTTP proxy in front of one server that counts what passes, and fails a share of it: a process of its own.

`python -m tests.support.faulty_proxy TARGET_PORT SHARE SEED` prints its port. A request fails with the share as its
probability, drawn by the seed, in one of four ways in turn: 503 SlowDown, 500 InternalError, a connection that is reset
before or after the server has done its part. `GET /-/counts` tells how often each kind of request was made since it was
last asked; `GET /-/deny/STATUS/CODE/PART` answers every later request whose path contains PART so (PART empty: none);
`GET /-/slow/SECONDS` delays every later listing, `GET /-/late/SECONDS` every later request; `GET /-/share/SHARE` sets
the share anew.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

KINDS = ("503 SlowDown", "500 InternalError", "reset before", "reset after")
HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


class State:
    """What all connections share."""

    def __init__(self, target: int, share: float, seed: int) -> None:
        self.target, self.share, self.slow_s, self.late_s = target, share, 0.0, 0.0
        self.faults = 0
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.counts: Counter[str] = Counter()
        self.denied = (403, "AccessDenied", "")

    def fate(self) -> str | None:
        with self.lock:
            if self.random.random() >= self.share:
                return None
            self.faults += 1
            return KINDS[self.faults % len(KINDS)]

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def _any(self) -> None:
        body = self._body()
        if self.path.startswith("/-/"):
            return self._control(self.path[3:].split("/"))
        state = self.state
        state.count(self._kind())
        status, code, part = state.denied
        if part and part in self.path:
            return self._answer(status, code)
        fate = state.fate()
        if fate is not None:
            state.count(fate)
        if fate is not None and fate[0] == "5":
            return self._answer(int(fate[:3]), fate[4:])
        if fate == "reset before":
            return self._reset()
        time.sleep(state.late_s + (state.slow_s if self._kind() == "LIST" else 0.0))
        upstream = http.client.HTTPConnection("127.0.0.1", state.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body=body, headers=headers)
        answer = upstream.getresponse()
        data = answer.read()
        if fate == "reset after":
            return self._reset()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any

    def _kind(self) -> str:
        """`GET`, `PUT` … and `LIST` for a listing."""
        return "LIST" if self.command == "GET" and "list-type" in self.path else self.command

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _control(self, words: list[str]) -> None:
        answer: object = None
        with self.state.lock:
            if words[0] == "counts":
                answer = dict(self.state.counts)
                self.state.counts.clear()
            elif words[0] == "late":
                self.state.late_s = float(words[1])
            elif words[0] == "slow":
                self.state.slow_s = float(words[1])
            elif words[0] == "share":
                self.state.share = float(words[1])
            else:
                self.state.denied = (int(words[1]), words[2], unquote("/".join(words[3:])))
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, status: int, code: str) -> None:
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Nothing: requests are counted."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: connections that end early are what this is for."""


def main(arguments: list[str]) -> None:
    target, share, seed = arguments
    Handler.state = State(int(target), float(share), int(seed))
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
