"""Which cluster a run connects to; that it is this user's, and that it lets no stranger in, is looked at first.

Ray would believe any address that it finds in a folder which everybody may write to, and show the token there; and of
a cluster it is happy to use it cannot tell whether strangers may use it too. Here the one is looked at and the other
tried, by a call without a token.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

from study.errors import ConfigError, why

ADDRESS_FILE = Path("ray/ray_current_cluster")  # below Ray's folder: the cluster that `ray start` has made last
OPEN_FIX = "start it with RAY_AUTH_MODE=token in its environment (docs/cluster.md); or insist: --allow-open-cluster"
ANSWER_S = 5.0


def temporary() -> Path:
    """Where Ray has its sessions, unless it is told otherwise."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")


def to_use() -> str | None:
    """The cluster that RAY_ADDRESS names, or that this user's `ray start` has made here; None where there is neither.

    Raises ConfigError for an address that somebody else has left.
    """
    named = os.environ.get("RAY_ADDRESS", "")
    if named not in ("", "auto"):
        return None if named == "local" else named
    file = temporary() / ADDRESS_FILE
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _left_by_another(file, str(error)) from error
    with open(descriptor, encoding="utf-8", errors="replace") as source:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.getuid()):
            raise _left_by_another(file, f"it belongs to user {found.st_uid}")
        return source.read(256).strip() or None


def _left_by_another(file: Path, reason: str) -> ConfigError:
    problem = f"names a cluster that is not yours ({reason}): it would be shown your token"
    return ConfigError("RAY_ADDRESS", file, problem, "name the cluster that you mean: RAY_ADDRESS=host:port, or =local")


def own_folder() -> Path:
    """A folder for Ray's sessions that nobody else may enter, since Ray lets everybody write to what it makes there.

    Raises ConfigError where somebody else has taken its place.
    """
    base = temporary()
    if _is_own(base):
        return base
    own = base / f"cc-{os.getuid()}"  # short: the path of a socket has 107 characters at most
    own.mkdir(mode=0o700, exist_ok=True)
    if not _is_own(own):
        problem = "is not a folder that you alone may enter"
        raise ConfigError("RAY_TMPDIR", own, problem, "chmod 700 it if it is yours, or set RAY_TMPDIR to one that is")
    return own


def _is_own(folder: Path) -> bool:
    found = folder.lstat() if folder.is_dir() else None
    return bool(found and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077)


def is_only_ours(file: Path) -> bool:
    """Whether nobody but this user, and root, can have made a file: by all the folders on its way."""
    real = file.resolve()
    for folder in reversed(real.parents):
        if _is_own(folder):
            return True
        found = folder.stat()
        others = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.getuid()) or others:
            return False
    return real.stat().st_uid in (0, os.getuid())


def check_answers(address: str) -> None:
    """Raise ConfigError where nobody listens at host:port: Ray would find out within a minute, and say it at length."""
    try:
        socket.create_connection(_place("RAY_ADDRESS", address), ANSWER_S).close()
    except OSError as error:
        fix = "check that the cluster runs, and write RAY_ADDRESS=HOST:PORT; or start one here: RAY_ADDRESS=local"
        raise ConfigError("RAY_ADDRESS", address, f"nobody answers there ({why(error)})", fix) from error


def check_ours(key: str, address: str) -> None:
    """Raise ConfigError where somebody else's process listens there, on this machine: it would be shown the token."""
    user = _listener(*_place(key, address))
    if user not in (None, 0, os.getuid()):
        problem = f"on this machine it is user {user} who listens there, and would be shown your token"
        raise ConfigError(key, address, problem, "name another port, and open the way to your cluster at that one")


def _place(key: str, address: str) -> tuple[str, int]:
    """The host and the port of an address. Raises ConfigError where it is none."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigError(key, address, f"is no address ({error})", "write http://HOST:PORT or HOST:PORT") from None


def _listener(host: str, port: int) -> int | None:
    """Who listens at a port of this machine; None where nobody does, or at another machine's, or it cannot be told."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))  # which only this machine's own addresses allow
        tables = [file for name in ("tcp", "tcp6") if (file := Path("/proc/net", name)).exists()]
        lines = [line.split() for file in tables for line in file.read_text().splitlines()]
    except (OSError, OverflowError):
        return None
    users = [int(at[7]) for at in lines if at[3] == "0A" and int(at[1].rpartition(":")[2], 16) == port]
    return max(users, default=None)  # root's own, should there be others


def lets_strangers_in(address: str) -> bool | None:
    """Whether the cluster at host:port answers a call that shows no token; None where nobody answers as Ray does."""
    import grpc

    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            call(b"", timeout=ANSWER_S)
        except grpc.RpcError as error:
            return False if error.code() == grpc.StatusCode.UNAUTHENTICATED else None
        return True


def serves_strangers(dashboard: str) -> bool | None:
    """Whether a dashboard tells its jobs to a request that shows no token; None where nobody answers as Ray does."""
    import requests

    try:
        answer = requests.get(f"{dashboard.rstrip('/')}/api/jobs/", timeout=ANSWER_S, allow_redirects=False)
    except (requests.RequestException, ValueError):
        return None
    return {200: True, 401: False, 403: False}.get(answer.status_code)


def check_closed(address: str, allow_open: bool) -> bool | None:
    """Whether a cluster refuses who shows no token; None where that cannot be seen.

    Raises ConfigError for one that lets strangers in, unless that is allowed, and for one that is somebody else's.
    """
    check_ours("RAY_ADDRESS", address)
    lets_in = lets_strangers_in(address)
    if lets_in and not allow_open:
        raise open_to_all("RAY_ADDRESS", address)
    return None if lets_in is None else not lets_in


def open_to_all(key: str, address: str) -> ConfigError:
    return ConfigError(key, address, "answers without a token: whoever reaches it runs there what they like", OPEN_FIX)
