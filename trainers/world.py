"""This process's place in the process group of a trial's workers, which DeepSpeed sets up.

Everything that must be set before DeepSpeed is imported, or kept quiet after, stands here; others import it from here.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """While the block runs a package that is not loaded yet looks as if it were not installed."""
    unseen = package not in sys.modules
    if unseen:
        sys.modules[package] = None  # type: ignore[assignment]
    yield
    if unseen:
        del sys.modules[package]


os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")  # else it guesses, aloud

with hidden("mlflow"):  # where it is installed, its autotuner loads it: a second, for nothing here
    import deepspeed
    import deepspeed.ops
    from deepspeed.runtime.zero import parameter_offload
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

# DeepSpeed calls functions that torch and transformers are renaming, on every step.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
warnings.filterwarnings("ignore", category=FutureWarning, message=".is_gradient_checkpointing.")
logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
logging.getLogger("DeepSpeed").addFilter(lambda record: "untested optimizer" not in record.getMessage())  # it is tested

# DeepSpeed would compile a shared-memory operator for a minute, and need a compiler.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

LOST_AFTER = timedelta(minutes=10)  # a process that does not answer a collective for so long is taken for lost


def init_process_group(host: str, port: int, rank: int, size: int, device: torch.device) -> None:
    """Meet the other processes: NCCL between GPUs, gloo between CPUs. Blocks until all `size` are there."""
    os.environ.update(
        MASTER_ADDR=host, MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(device.index or 0)
    )
    backend = "nccl" if device.type == "cuda" else "gloo"
    deepspeed.init_distributed(dist_backend=backend, verbose=False, timeout=LOST_AFTER)


def forget_modules() -> None:
    """Empty two caches of DeepSpeed's that would keep every model that ZeRO 3 has run (0.19.8)."""
    parameter_offload.FWD_MODULE_STACK.clear()
    cached = PartitionedParameterCoordinator._PartitionedParameterCoordinator__params_to_release
    cached.__closure__[0].cell_contents.cache_clear()  # behind a decorator that does not pass it on


class World:
    """This process's place among the workers of a trial."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._joined: tuple[str, int] | None = None
        if torch.cuda.is_available():
            self.device = torch.device("cuda", rank % torch.cuda.device_count())
        else:
            self.device = torch.device("cpu")

    @property
    def joined(self) -> bool:
        return self._joined is not None

    def address(self) -> tuple[str, int]:
        """A host name that others reach this machine by, and a port that is free on it."""
        with socket.socket() as listener:
            listener.bind(("", 0))
            return _own_address() if self.size > 1 else "127.0.0.1", int(listener.getsockname()[1])

    def join(self, host: str, port: int) -> None:
        """Meet the other processes. Joining the same group again does nothing; another one is an error."""
        if self._joined == (host, port):
            return
        if self._joined is not None:
            raise RuntimeError(f"this process is in the group of {self._joined}; a new group needs new processes")
        init_process_group(host, port, self.rank, self.size, self.device)
        self._joined = (host, port)

    def sum_each(self, values: torch.Tensor) -> list[float]:
        """The sums of a vector's elements over all processes, in each of them."""
        total = values.detach().clone()
        if self.size > 1:
            torch.distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]


def _own_address() -> str:
    """The address of the interface that leads outward; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: routed, never answered
            return str(probe.getsockname()[0])
        except OSError:  # no route outward: the workers are on this machine
            return "127.0.0.1"
