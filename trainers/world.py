"""This process's place in the process group of a trial's workers."""

from __future__ import annotations

import socket

import torch

from trainers.engine import init_process_group


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

    def sum(self, value: torch.Tensor) -> float:
        """The sum of a scalar over all processes, in each of them."""
        total = value.detach().clone()
        if self.size > 1:
            torch.distributed.all_reduce(total)
        return float(total)


def _own_address() -> str:
    """The address of the interface that leads outward; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: routed, never answered
            return str(probe.getsockname()[0])
        except OSError:  # no route outward: the workers are on this machine
            return "127.0.0.1"
