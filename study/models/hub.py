"""The Hub's caches: filled once per machine for all its workers, and used alone where there is no network.

The token is read by huggingface_hub from HF_TOKEN or its own login file; it is never passed on from here. HF_HOME says
where the caches are; HF_HUB_OFFLINE that nothing is to be fetched.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from study.errors import ConfigError
from study.faults.network import Unreachable
from study.pulse import beat

if TYPE_CHECKING:
    from huggingface_hub.utils import tqdm

BEAT_S = 5.0
LOCAL_DISK = "set HF_HOME to a folder on a local disk"
WEIGHTS = "*.safetensors"
MODEL_FILES = [WEIGHTS, "*.json", "*.model", "*.txt", "*.jinja", "*.py"]  # no pickles, no other formats


def local_folder(path: str, revision: str | None, weights: bool = True) -> str:
    """Find a model's folder: the local one, or the Hub's snapshot of a commit, fetched by one process per machine.

    Without `weights`, it need hold no more than config and tokenizer. Raises ConfigError where it can never be had,
    what the network raises else.
    """
    if revision is None:
        return path
    from huggingface_hub import constants, errors, snapshot_download

    files = MODEL_FILES if weights else [pattern for pattern in MODEL_FILES if pattern != WEIGHTS]
    try:
        with one_per_node(f"{path}@{revision}"):
            return str(snapshot_download(path, revision=revision, allow_patterns=files, tqdm_class=beating()))
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        raise refused("models", path, error) from error
    except errors.LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            raise refused("models", path, error) from error
        raise


def file_of(path: str, revision: str | None, name: str) -> Path | None:
    """Find a small file of a model, fetched where it is the Hub's; None where there is none, or it cannot be had."""
    if revision is None:
        file = Path(path) / name
        return file if file.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(path, name, revision=revision))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None


@dataclass(frozen=True)
class Repository:
    """What the Hub has by a name: at a revision, or as it is when it is fetched."""

    name: str
    revision: str | None = None

    @property
    def download(self) -> str:
        return f"hf download {self.name}" + (f" --revision {self.revision}" if self.revision else "")


def to_fetch(
    models: Sequence[Repository], sets: Sequence[Repository], addresses: Sequence[str], config: str
) -> list[str]:
    """List the commands that fetch, on a machine with a network, what one without needs."""
    return [
        "To run it where the Hub cannot be reached: fill HF_HOME on a machine with a network, copy it to the nodes (or",
        "share it between them) and set HF_HUB_OFFLINE=1. Gated models need HF_TOKEN there.",
        *(f"  {one.download} --exclude '*.pth'" for one in models if not Path(one.name).exists()),
        *(f"  {one.download} --repo-type dataset" for one in sets),
        f"  python -m study.sizes {config}  # reads all data, which prepares its cache, and counts it",
        *(f"    with {address}" for address in addresses),
    ]


@contextmanager
def one_per_node(what: str) -> Iterator[None]:
    """Let one process of this machine (of this HF_HOME, that is) at a time do what is named.

    Raises Unreachable where HF_HOME's file system gives no locks, be it to us or to a library that locks there.
    """
    from huggingface_hub import constants

    folder = Path(constants.HF_HOME) / "crosscells-locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(FileLock(folder / (re.sub(r"[^A-Za-z0-9._-]+", "--", what) + ".lock"))):
            yield
    except OSError as error:
        if error.errno != errno.ENOLCK:
            raise
        reason = f"HF_HOME = {constants.HF_HOME}: its file system gives no locks ({error.strerror})"
        raise Unreachable(f"{reason}; {LOCAL_DISK}") from error


@contextmanager
def _held(lock: FileLock) -> Iterator[None]:
    """Hold a lock; who waits for another one's work is at work as well."""
    while True:
        try:
            lock.acquire(timeout=BEAT_S)
            break
        except Timeout:
            beat()
    try:
        yield
    finally:
        lock.release()


def beating() -> type[tqdm]:
    """Progress bars of huggingface_hub that say each piece that has come."""
    from huggingface_hub.utils import tqdm

    class Beating(tqdm):
        def update(self, n: float | None = 1) -> bool:
            beat()
            return bool(super().update(n))

    return Beating


def refused(key: str, repo: str, error: Exception) -> ConfigError:
    """Say what to do where the Hub refuses a repository, or cannot be asked and the cache does not have it."""
    from huggingface_hub import constants, errors

    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENOLCK:
        return ConfigError("HF_HOME", constants.HF_HOME, "its file system gives no locks", LOCAL_DISK)
    if isinstance(error, errors.GatedRepoError):
        fix = f"accept its licence at {constants.ENDPOINT}/{repo} and set HF_TOKEN to a token of that account"
        return ConfigError(key, repo, f"is gated, and the Hub does not let us in ({reason})", fix)
    if isinstance(error, errors.RepositoryNotFoundError):
        fix = "check the id, or name a local folder; private and gated ones need HF_TOKEN in the environment"
        return ConfigError(key, repo, f"the Hub has none that we may see ({reason})", fix)
    problem = f"is no local folder, and the Hub cannot be reached ({reason}) nor is it in the cache {constants.HF_HOME}"
    fix = f"on a machine with a network: hf download {repo}; then copy that machine's HF_HOME here"
    return ConfigError(key, repo, problem, fix)
