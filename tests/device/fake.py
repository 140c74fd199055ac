"""Devices that say `cuda` on a machine without one: `pytest -p tests.device.fake` runs tests on them.

They are torch's own CUDA key on host memory (device.cpp), two of them, of which a program finds one (`device_count`).
They prove where tensors lie, of which type they are, what memory is let go of and where the host waits for a device.
They say nothing of speed, nor of a real one's kernels. Torch asks for them once, when it is loaded, so this is imported
first. Needs g++.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

assert "torch" not in sys.modules, "the fake device must be imported before torch"

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
TOTAL = 80 << 30
TORCH = Path(str(importlib.util.find_spec("torch").origin)).parent  # type: ignore[union-attr]


def built() -> Path:
    """The library of device.cpp; compiled once for what it says and the torch that is installed, half a minute."""
    source, headers = HERE / "device.cpp", TORCH / "include"
    said = source.read_bytes() + (TORCH / "version.py").read_bytes() + sysconfig.get_python_version().encode()
    library = REPOSITORY / "build" / "device" / f"{hashlib.sha256(said).hexdigest()[:16]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        made = library.with_suffix(f".{os.getpid()}")
        how, own = ["-std=c++20", "-O0", "-fPIC", "-shared", f"-I{headers}"], TORCH / "lib"
        libraries = [f"-L{own}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{own}"]
        subprocess.run(["g++", *how, str(source), "-o", str(made), *libraries], check=True)
        made.rename(library)
    return library


os.environ["DS_ACCELERATOR"] = "cuda"  # whatever a process that has started this one took
ctypes.CDLL(str(built()), ctypes.RTLD_GLOBAL)

import torch  # noqa: E402 - its hooks are there now

_waits: list[str] = []
_ops = torch.ops.fakecuda


def waited(what: str) -> None:
    """Called by the device when the host would wait for it."""
    frames = traceback.extract_stack()[:-2]  # without this function, and what calls it
    own = [one for one in frames if one.filename.startswith(str(REPOSITORY)) and "/.venv/" not in one.filename]
    others = [one for one in frames if "/site-packages/torch/" not in one.filename]
    where = ["/".join(one.filename.split("/")[-2:]) + f":{one.lineno}" for one in (own[-2:] + others[-1:])]
    _waits.append(f"{what} at {' > '.join(dict.fromkeys(where))}")


@contextlib.contextmanager
def waits() -> Iterator[list[str]]:
    """Within, each time that the host waits for the device goes into the list, with the lines that it comes from."""
    _waits.clear()
    found: list[str] = []
    _ops.watch(True)
    try:
        yield found
    finally:
        _ops.watch(False)
        found += _waits


def so_far() -> int:
    """How many waits there were yet."""
    return len(_waits)


@contextlib.contextmanager
def room_for(more: int) -> Iterator[None]:
    """Within, the device has so many bytes more than what it holds."""
    _ops.limit(allocated() + more)
    try:
        yield
    finally:
        _ops.limit(0)


def allocated() -> int:
    return int(_ops.allocated())


def _debug(mode: str) -> None:
    """A real one raises where it is; this one at the end, which is when the mode is left."""
    if mode != "default":
        _waits.clear()
    _ops.watch(mode != "default")
    if mode == "default" and _waits:
        raise RuntimeError(f"called a synchronizing CUDA operation: {_waits[:3]}")


class _Anything:
    """Streams, events and the like: nothing runs beside the host."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> _Anything:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None

    def query(self) -> bool:
        return True

    def elapsed_time(self, _: object) -> float:
        return 0.0


class _Properties:
    name, major, minor, total_memory, multi_processor_count, warp_size = "Fake A100", 8, 0, TOTAL, 108, 32


freed_at: list[int] = []  # what was held each time that the cache was emptied


def _install() -> None:
    """What torch.cuda says of the device, in place of what asks a driver."""
    cuda: Any = torch.cuda
    told = {
        "is_available": True,
        "is_initialized": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": _Properties.name,
        "get_device_capability": (_Properties.major, _Properties.minor),
        "get_device_properties": _Properties,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "can_device_access_peer": False,
        "get_arch_list": ["sm_80"],
        "memory_stats": {},
    }
    for name, value in told.items():
        setattr(cuda, name, lambda *_, value=value, **__: value)
    nothing = ("_lazy_init", "set_device", "ipc_collect", "manual_seed", "manual_seed_all", "set_rng_state")
    for name in (*nothing, "synchronize"):
        setattr(cuda, name, lambda *_, **__: None)
    cuda._initialized = True
    cuda.empty_cache = lambda: freed_at.append(allocated())
    cuda.set_per_process_memory_fraction = lambda share, _=None: _ops.limit(int(share * TOTAL) if share < 1 else 0)
    cuda.set_sync_debug_mode = _debug
    cuda.mem_get_info = lambda _=None: (TOTAL - allocated(), TOTAL)
    cuda.memory_allocated = cuda.memory_reserved = lambda _=None: allocated()
    cuda.max_memory_allocated = cuda.max_memory_reserved = lambda _=None: int(_ops.peak())
    cuda.reset_peak_memory_stats = cuda.reset_max_memory_allocated = lambda _=None: _ops.forget_peak()
    cuda.max_memory_cached, cuda.reset_max_memory_cached = cuda.max_memory_reserved, cuda.reset_peak_memory_stats
    cuda.get_rng_state = lambda _=None: torch.zeros(16, dtype=torch.uint8)
    cuda.Stream = cuda.Event = cuda.device = _Anything
    cuda.current_stream = cuda.default_stream = cuda.stream = _Anything
    cuda.nvtx.range_push = cuda.nvtx.range_pop = cuda.nvtx.mark = lambda *_, **__: 0
    torch.version.cuda = "12.8"
    torch._C._cuda_getCurrentRawStream = lambda *_: 0  # bitsandbytes reads it, and finds no library then


def _alone() -> None:
    """In place of NCCL a group of one process: every collective leaves its tensors as they are."""
    import torch.testing._internal.distributed.fake_pg
    from torch._C._distributed_c10d import FakeProcessGroup

    def made(store: object, rank: int, size: int, timeout: object) -> object:
        assert size == 1
        return FakeProcessGroup._create_internal(rank, size, FakeProcessGroup.Options())

    begin: Any = torch.distributed.init_process_group
    torch.distributed.Backend.register_backend("alone", made, devices=["cpu", "cuda"])

    def begun(backend: str, **how: Any) -> None:
        begin("alone" if backend == "nccl" else backend, **how)

    torch.distributed.init_process_group = begun


_install()
_alone()
