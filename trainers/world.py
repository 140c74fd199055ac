"""This process's place in the process group of a trial's workers, which DeepSpeed sets up.

Everything that must be set before DeepSpeed is imported, or kept quiet after, stands here; others import it from here.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

from trainers.meeting import Meeting


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


def init_process_group(store: torch.distributed.Store, rank: int, size: int, device: torch.device) -> None:
    """Meet the other processes: NCCL between GPUs, gloo between CPUs. Blocks until all `size` are there."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(device.index or 0))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")  # DeepSpeed wants them set, and meets nobody there
    backend = "nccl" if device.type == "cuda" else "gloo"
    bound = device if device.type == "cuda" and size > 1 else None  # as DeepSpeed does
    torch.distributed.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=LOST_AFTER, device_id=bound
    )
    deepspeed.init_distributed(dist_backend=backend, verbose=False, timeout=LOST_AFTER)


def forget_modules(model: torch.nn.Module) -> None:
    """Empty what of DeepSpeed's would keep every model that ZeRO 3 has run (0.19.8), and what a base would keep of it.

    A base's modules, which the next engine has again, would go on telling the first one's of their backward passes.
    """
    for module in model.modules():
        module.__dict__.pop("pre_bwd_fn", None)
        module.__dict__.pop("post_bwd_fn", None)
    parameter_offload.FWD_MODULE_STACK.clear()
    cached = PartitionedParameterCoordinator._PartitionedParameterCoordinator__params_to_release
    cached.__closure__[0].cell_contents.cache_clear()  # behind a decorator that does not pass it on


class World:
    """This process's place among the workers of a trial."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._joined: Meeting | None = None
        self._listener: socket.socket | None = None
        if torch.cuda.is_available():
            self.device = torch.device("cuda", rank % torch.cuda.device_count())
        else:
            self.device = torch.device("cpu")

    @property
    def joined(self) -> bool:
        return self._joined is not None

    def address(self) -> Meeting:
        """Where rank 0 listens for the others, at an address of this machine that they reach; alone it does not."""
        if self.size == 1:
            return Meeting("127.0.0.1", 0, "")
        host = _own_address()
        self._listener = socket.create_server((host, 0))
        return Meeting(host, int(self._listener.getsockname()[1]), secrets.token_hex(16))

    def join(self, meeting: Meeting) -> None:
        """Meet the other processes. Joining the same group again does nothing; another one is an error."""
        if self._joined == meeting:
            return
        if self._joined is not None:
            raise RuntimeError(f"this process is in the group of {self._joined}; a new group needs new processes")
        init_process_group(self._store(meeting), self.rank, self.size, self.device)
        self._joined = meeting

    def _store(self, meeting: Meeting) -> torch.distributed.Store:
        """What the processes tell each other at first: within this one where it is alone, else under the secret word.

        A server of torch's own would listen at all addresses of the machine. Whoever reaches this one may still use it:
        between nodes the network must be one's own (docs/security.md).
        """
        if self.size == 1:
            if sys.platform == "linux":
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # gloo listens too, where the host's name leads to
            return torch.distributed.HashStore()
        listening = self._listener.detach() if self._listener is not None else None  # the server closes it
        server = torch.distributed.TCPStore(
            meeting.host,
            meeting.port,
            self.size,
            is_master=listening is not None,
            timeout=LOST_AFTER,
            master_listen_fd=listening,
        )
        return torch.distributed.PrefixStore(meeting.secret, server)

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
