"""Whom a run trusts with its token: what somebody else has left is not believed, an open cluster is not used."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import grpc
import pytest

from orchestrator import submit
from orchestrator.cluster import address, jobs
from orchestrator.cluster.address import check_closed, own_folder, to_use
from orchestrator.cluster.connect import Connected
from study.errors import ConfigError


@pytest.fixture
def ray_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which `ray start` leaves its cluster's address."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    file = tmp_path / "ray" / "ray_current_cluster"
    file.write_text("10.0.0.1:6379\n")
    return file


def test_a_cluster_is_the_one_named_or_ones_own(ray_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert to_use() == "10.0.0.1:6379"
    for named, used in (("h:1", "h:1"), ("local", None), ("auto", "10.0.0.1:6379"), ("", "10.0.0.1:6379")):
        monkeypatch.setenv("RAY_ADDRESS", named)
        assert to_use() == used
    ray_file.unlink()
    assert to_use() is None


@pytest.mark.parametrize("kind", ["owner", "link", "pipe"])
def test_an_address_that_somebody_else_left_is_not_believed(
    ray_file: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Anybody may write below /tmp/ray: Ray connected to what stood there, and showed it the token."""
    if kind == "owner":
        stranger = os.stat_result([stat.S_IFREG | 0o644, 0, 0, 1, 12345, 12345, 14, 0, 0, 0])
        monkeypatch.setattr(os, "fstat", lambda _: stranger)
    else:
        ray_file.unlink()
        ray_file.symlink_to("/etc/hostname") if kind == "link" else os.mkfifo(ray_file)
    with pytest.raises(ConfigError, match="not yours") as refused:
        to_use()
    assert refused.value.key == "RAY_ADDRESS"


def test_sessions_lie_where_nobody_else_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray makes folders into which everybody may write, and unpickles what it finds there."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    tmp_path.chmod(0o777)
    own = own_folder()
    assert own == tmp_path / f"cc-{os.getuid()}"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert own_folder() == own
    monkeypatch.setenv("RAY_TMPDIR", str(own))
    assert own_folder() == own
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    own.chmod(0o770)
    with pytest.raises(ConfigError, match="not a folder that you alone may enter"):
        own_folder()
    own.rmdir()
    (tmp_path / "theirs").mkdir(mode=0o700)
    own.symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="RAY_TMPDIR"):
        own_folder()


def test_what_another_user_listens_at_is_shown_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was first at 127.0.0.1:8265, and answered 401, was shown it."""
    stranger = 54321
    with socket.create_server(("127.0.0.1", 0)) as own:
        address.check_ours("--address", f"http://127.0.0.1:{own.getsockname()[1]}")
    if os.getuid() == 0:
        os.seteuid(stranger)
    try:
        theirs = socket.create_server(("127.0.0.1", 0))
    finally:
        os.seteuid(os.getuid())
    with theirs:
        at = f"127.0.0.1:{theirs.getsockname()[1]}"
        if os.getuid() != 0:
            monkeypatch.setattr(os, "getuid", lambda: stranger)
        for ask in (lambda: jobs.connect(f"http://{at}", True), lambda: check_closed(at, True)):
            with pytest.raises(ConfigError, match="who listens there") as refused:
                ask()
            assert at in str(refused.value.value)
        address.check_ours("--address", f"http://192.0.2.1:{theirs.getsockname()[1]}")  # another machine's


class Gcs(grpc.GenericRpcHandler):
    """Answers as Ray's control service does: to everybody, or to nobody."""

    def __init__(self, is_open: bool) -> None:
        self._is_open = is_open

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if not self._is_open:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def gcs(is_open: bool) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Gcs(is_open)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def test_a_cluster_that_lets_strangers_in_is_refused() -> None:
    """It was used, and “it asks for the token” was printed without a look."""
    with gcs(is_open=True) as where:
        with pytest.raises(ConfigError, match="answers without a token") as refused:
            check_closed(where, allow_open=False)
        assert "--allow-open-cluster" in refused.value.fix
        assert check_closed(where, allow_open=True) is False
    with gcs(is_open=False) as where:
        assert check_closed(where, allow_open=False) is True
    assert check_closed(where, allow_open=False) is None  # gone
    said = [str(Connected("http://d", seen)) for seen in (True, False, None)]
    assert ["refused" in said[0], "OPEN" in said[1], "could not be seen" in said[2]] == [True] * 3


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_dashboard_that_lets_strangers_in_is_refused_before_it_sees_the_token(
    status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str | None] = []

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    monkeypatch.setattr(address, "ANSWER_S", 30)
    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with mock.patch.dict(os.environ):  # what Ray is told there would hold for all clusters of this process
            code = submit.main(["--status", "--address", f"http://127.0.0.1:{server.server_port}"])
        server.shutdown()
    told = capsys.readouterr().err
    assert code == 2
    assert ("answers without a token" in told) == (status == 200)
    assert shown[0] is None
    assert len(shown) == 1 if status == 200 else len(shown) > 1
