"""Kinds of failure, by what Ray, torch, pyarrow, the hub and the operating system really raise."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import psutil
import pytest
import ray
import requests
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import InferenceTimeoutError
from pyarrow import fs as pafs
from safetensors.torch import save_file

from orchestrator.cluster.kernel_kills import struck, watch
from orchestrator.failures import Hung, NotStarted, backoff_s, budget, is_spoilt, kind_of, lasting, words_of
from orchestrator.stop import Interrupted, as_raised, on_signals
from study.config import Failures
from study.errors import ConfigError, StoreRefused, TaskError
from study.faults.kinds import FailureKind
from study.store.records import FailureRecord
from study.store.store import Store
from tests.faults.disk import Disk
from tests.faults.memory import limited
from tests.support.local_ray import local_ray
from tests.support.tiny_world import REPOSITORY, ended
from tests.support.victim import Victim


@contextmanager
def _cluster(**system: object) -> Iterator[Callable[..., Any]]:
    folder = tempfile.TemporaryDirectory(prefix="kinds-", dir="/tmp", ignore_cleanup_errors=True)
    with folder as short, pytest.MonkeyPatch.context() as patch:  # sockets need a short path
        patch.delenv("RAY_ADDRESS", raising=False)
        with local_ray(cpus=2, _system_config=system, _temp_dir=short):
            yield lambda *arguments: ray.remote(Victim).remote(*arguments)


@pytest.mark.processes
def test_an_actor_that_eats_all_memory() -> None:
    """A memory monitor of its own strikes when half a GiB more than now is in use."""
    memory = psutil.virtual_memory()
    most = (memory.total - memory.available + (1 << 29)) / memory.total
    with _cluster(memory_usage_threshold=most, memory_monitor_refresh_ms=100) as actor:
        with pytest.raises(ray.exceptions.RayError) as caught:
            ray.get(actor().eat.remote(), timeout=60)
        assert kind_of(caught.value) == "killed_for_memory"


@pytest.fixture(scope="module")
def actors() -> Iterator[Callable[..., Any]]:
    with _cluster() as actor:
        yield actor


@pytest.mark.processes
def test_an_actor_that_the_kernel_kills_for_memory(actors: Callable[..., Any]) -> None:
    """To Ray the kernel's kill looks like any other; the count on the node tells them apart, also one from the next."""
    try:
        with limited(1 << 29):
            for what, is_memory in (("die", False), ("eat", True), ("crash", False)):
                victim = actors()
                seen = watch(victim)
                with pytest.raises(ray.exceptions.RayActorError) as caught:
                    ray.get(getattr(victim, what).remote(), timeout=60)
                assert (kind_of(caught.value), struck([seen])) == ("node_lost", is_memory)
    except PermissionError as error:
        pytest.skip(f"the kernel's own limit needs root: {error}")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("die", "node_lost"),
        ("crash", "node_lost"),
        ("allocate", "out_of_memory"),
        ("divide", "bug"),
    ],
)
def test_what_happens_in_an_actor(actors: Callable[..., Any], what: str, kind: str) -> None:
    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(getattr(actors(), what).remote(), timeout=60)
    assert kind_of(caught.value) == kind


@pytest.mark.processes
@pytest.mark.parametrize(
    ("reason", "kind"), [("full", "no_space"), ("allocate", "out_of_memory"), ("refused", "transient")]
)
def test_what_happens_while_an_actor_starts(actors: Callable[..., Any], reason: str, kind: str) -> None:
    """Ray hands such an exception on as text."""
    with pytest.raises(ray.exceptions.RayActorError) as caught:
        ray.get(actors(reason).__ray_ready__.remote(), timeout=60)
    assert kind_of(caught.value) == kind


class _Answers(BaseHTTPRequestHandler):
    """Answers every request with the status that its path begins with."""

    def do_GET(self) -> None:
        body = b"" if self.command == "HEAD" else b"<Error><Code>AccessDenied</Code></Error>"
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Port of the server that answers as it is told."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.mark.parametrize(("status", "kind"), [(503, "transient"), (429, "transient"), (403, "bug"), (404, "bug")])
def test_http_and_the_hub(server: int, status: int, kind: str) -> None:
    url = f"http://127.0.0.1:{server}/{status}"
    with pytest.raises(OSError) as plain:
        requests.get(url).raise_for_status()
    with pytest.raises(OSError) as hub:
        HfApi(endpoint=url).model_info("a/b")
    assert (kind_of(plain.value), kind_of(hub.value)) == (kind, kind)


def _bucket(port: int) -> pafs.S3FileSystem:
    once = pafs.AwsStandardS3RetryStrategy(max_attempts=1)
    return pafs.S3FileSystem(
        endpoint_override=f"http://127.0.0.1:{port}", access_key="a", secret_key="b", region="x", retry_strategy=once
    )


@pytest.mark.parametrize(("bucket", "kind"), [("503", "transient"), ("403", "bug")])
def test_buckets_that_answer_badly(server: int, bucket: str, kind: str) -> None:
    with pytest.raises(OSError) as caught:
        _bucket(server).get_file_info(f"{bucket}/x")
    assert kind_of(caught.value) == kind


def test_hosts_that_do_not_answer() -> None:
    with pytest.raises(OSError) as caught:
        _bucket(9).get_file_info("b/x")
    assert kind_of(caught.value) == "transient"
    with pytest.raises(requests.RequestException) as refused:
        requests.get("http://127.0.0.1:9")
    assert kind_of(refused.value) == "transient"
    with pytest.raises(Exception) as hub:
        HfApi(endpoint="http://127.0.0.1:9").model_info("a/b")
    assert kind_of(hub.value) == "transient"


def test_files_that_are_missing_are_no_passing_trouble(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Store(str(tmp_path)).read("nothing")
    assert kind_of(caught.value) == "bug"


@pytest.mark.processes
def test_disks_that_are_full_or_read_only(tmp_path: Path) -> None:
    with Disk(tmp_path / "disk") as disk:
        store = Store(str(disk.where / "store"))
        store.write("x", b"1")
        for make_worse, kind in ((disk.fill, "no_space"), (disk.refuse, "store_refused")):
            make_worse()
            with pytest.raises(StoreRefused, match="refuses to be used") as caught:
                store.write("x", b"2" * 8192)
            assert kind_of(caught.value) == kind
            assert kind_of(ray.exceptions.RayTaskError("f", "traceback", caught.value)) == kind
            assert store.read("x") == b"1"
        disk.mend()
        disk.fill()
        with pytest.raises(Exception, match="No space left") as full:
            save_file({"weights": torch.zeros(1 << 20)}, str(disk.where / "scratch.safetensors"))
        assert kind_of(full.value) == "no_space"
        (disk.where / "scratch.safetensors").unlink(missing_ok=True)
        disk.mend()
        store.write("x", b"2" * 8192)
        assert [path.name for path in (disk.where / "store").iterdir()] == ["x"]  # nothing half-written is left


def test_every_kind_has_its_budget_and_only_lasting_ones_are_left_alone() -> None:
    kinds = [kind for kind in get_args(FailureKind) if kind != "bad_data"]
    budgets = [budget(kind, Failures()) for kind in kinds]
    assert budgets == [20, 4, 2, 4, 5, 0, 0, 0, 0, 0]
    recorded = {kind: FailureRecord(kind, kind, kind, "", 1, subject_id="id") for kind in (*kinds, "bad_data")}
    assert lasting(recorded).keys() == {"nan", "bug", "bad_data"}
    assert lasting({"old": FailureRecord("old", "m/base on t/en", "nan", "", 1)}) == {}  # it does not say of which unit
    assert [backoff_s(n) for n in (1, 2, 3, 10)] == [1, 2, 4, 60]


@pytest.mark.parametrize(
    ("error", "kind", "spoilt"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), "node_lost", True),
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), "node_lost", True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling cublasSgemm"), "node_lost", True),
        (torch.distributed.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:94"), "node_lost", True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"), "node_lost", True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), "bug", True),
        (torch.AcceleratorError("CUDA error: out of memory"), "out_of_memory", False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "out_of_memory", False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", False),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), "bug", False),
        (ValueError("CUDA error: says no device"), "bug", False),
        (NotStarted("2 workers were not all there"), "node_lost", False),
        (Hung("no sign of life for 600 s"), "hung", False),
    ],
)
def test_what_devices_and_their_connections_raise(error: Exception, kind: str, spoilt: bool) -> None:
    for one in (error, ray.exceptions.RayTaskError("f", "traceback", error)):
        assert (kind_of(one), is_spoilt(one)) == (kind, spoilt)


@pytest.mark.processes
def test_a_peer_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    """What gloo raises in a process whose partner has ended."""
    code = """
import os, sys, torch, torch.distributed as dist
from orchestrator.failures import is_spoilt, kind_of
dist.init_process_group("gloo", f"file://{sys.argv[1]}", world_size=2, rank=int(sys.argv[2]))
if sys.argv[2] == "1":
    dist.all_reduce(torch.ones(1))
    os._exit(0)
try:
    for _ in range(1000):
        dist.all_reduce(torch.ones(1))
except Exception as error:
    print(kind_of(error), is_spoilt(error))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "rendezvous")]
    one, other = (ended(subprocess.Popen([*command, rank], cwd=REPOSITORY, stdout=subprocess.PIPE)) for rank in "01")
    with one as left, other as gone:
        assert gone.wait(120) == 0
        assert left.communicate(timeout=120)[0] == b"node_lost True\n"


@pytest.mark.processes
def test_a_signal_in_the_midst_of_a_wait_interrupts_it(actors: Callable[..., Any]) -> None:
    """Ray's compiled wait makes a SystemError of what a handler raises."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    on_signals()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(Interrupted, match="SIGINT"), as_raised():
            ray.wait([actors().sleep.remote(60)], timeout=3)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ray.exceptions.OutOfMemoryError("killed by the memory monitor"), "killed_for_memory"),
        (ray.exceptions.RayActorError(), "node_lost"),
        (ray.exceptions.WorkerCrashedError(), "node_lost"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (OSError(errno.ECONNRESET, "reset"), "transient"),
        (TimeoutError("timed out"), "transient"),
        (InferenceTimeoutError("slow hub"), "transient"),
        (FileNotFoundError("gone"), "bug"),
        (TaskError("no such column"), "bad_data"),
        (ZeroDivisionError(), "bug"),
    ],
)
def test_kinds_of_real_exceptions(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
    wrapped = ray.exceptions.RayTaskError("f", "traceback", error)
    assert kind_of(wrapped) == kind


def test_people_are_told_our_own_errors_as_sentences_and_others_with_their_class() -> None:
    """The last line of what Ray says of a ConfigError was its fix alone, of a full disk the name of a class."""
    text = "ray::Trainer.train()\nTraceback …\nstudy.errors.StoreRefused: [Errno 28] …"
    full = StoreRefused(errno.ENOSPC, "the store s refuses to be used: No space left on device")
    wrong = ConfigError("models.dtype", "float16", "cannot be trained on a CPU", "use bfloat16")
    told = {full: str(full), wrong: "models.dtype = 'float16': cannot be trained on a CPU fix: use bfloat16"}
    for error, words in told.items():
        assert words_of(error, "bug") == words_of(ray.exceptions.RayTaskError("f", text, error), "bug") == words
    assert str(full) == "the store s refuses to be used: No space left on device"
    other = ray.exceptions.RayTaskError("f", "Traceback …\nValueError: no", ValueError("no"))
    assert words_of(other, "bug") == "ValueError: no"
    gone = ray.exceptions.ActorDiedError()
    for error in (gone, ray.exceptions.RayTaskError("f", str(gone), gone)):
        assert words_of(error, "node_lost").startswith("the process that worked on it is gone")
        assert words_of(error, "killed_for_memory").startswith("the process that worked on it was killed")
    assert words_of(RuntimeError("NCCL error"), "node_lost") == "NCCL error"
