"""An actor to which things happen. It imports next to nothing, so that it starts at once."""

from __future__ import annotations

import ctypes
import os
import time


class Victim:
    def __init__(self, reason: str = "") -> None:
        if reason == "full":
            raise OSError(28, "No space left on device")
        if reason == "allocate":
            self.allocate()
        if reason == "refused":
            import requests

            requests.get("http://127.0.0.1:9")

    def eat(self) -> None:
        eaten = []
        while True:
            eaten.append(bytearray(64 << 20))
            time.sleep(0.01)

    def die(self) -> None:
        os.kill(os.getpid(), 9)

    def crash(self) -> None:
        ctypes.string_at(0)

    def allocate(self) -> None:
        import torch

        torch.empty(1 << 50, dtype=torch.uint8)

    def divide(self) -> float:
        return 1 / 0

    def node(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
