"""Where a scoring process spends its time: seconds per stage, tokens read and padded, and one wave's torch trace.

Stages do not overlap: `head` is inside the model's forward pass and taken out of `forward`. On GPUs every stage waits
for all of them at both ends, which itself costs a little: profile to see where time goes, not how fast it could be.
"""

from __future__ import annotations

import gzip
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from adapters.splitting.split import devices_of
from study.flops import FORWARD, peak_of
from study.scratch import scratch
from study.store.layout import LOGS

if TYPE_CHECKING:
    from study.models.resolve import Model
    from study.store.store import Store


def forward_flops(model: PreTrainedModel) -> tuple[int, int]:
    """What a token costs in the model's body, and a scored position in its head; looking up embeddings is free."""
    weights = {id(weight): weight.numel() for weight in model.parameters()}
    head = model.get_output_embeddings()
    own = 0 if head is None else weights.pop(id(head.weight), 0)
    weights.pop(id(model.get_input_embeddings().weight), None)
    return FORWARD * sum(weights.values()), FORWARD * own


class Profile:
    """Adds up one process's seconds, tokens and operations."""

    def __init__(self, base: PreTrainedModel) -> None:
        self._devices, self._device = devices_of(base), base.device
        self._open: list[str] = []
        self._since = 0.0
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.useful_tokens = 0
        self.padded_tokens = 0
        self.flops = 0
        self.trace: bytes | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Book the time within on a stage; the stage around it stands still meanwhile."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def _turn(self) -> None:
        if self._device.type == "cuda":
            for device in self._devices:
                torch.cuda.synchronize(device)
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def count(self, useful: int, padded: int, flops: int) -> None:
        """Tokens of a batch: those of its rows, and with the padding to its longest; and what the rows cost."""
        self.useful_tokens += useful
        self.padded_tokens += padded
        self.flops += flops

    @contextmanager
    def head(self, module: torch.nn.Module | None) -> Iterator[None]:
        """Book the LM head's part of a forward pass on a stage of its own."""
        if module is None:
            yield
            return
        stages: list[AbstractContextManager[None]] = []

        def begin(*_: object) -> None:
            stages.append(self.stage("head"))
            stages[-1].__enter__()

        def end(*_: object) -> None:
            stages.pop().__exit__(None, None, None)

        handles = [module.register_forward_pre_hook(begin), module.register_forward_hook(end, always_call=True)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Keep a torch trace of what runs within, once: later calls trace nothing."""
        if self.trace is not None:
            yield
            return
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profiler:
            yield
        with scratch() as local:
            profiler.export_chrome_trace(str(local / "trace.json"))
            self.trace = gzip.compress((local / "trace.json").read_bytes())

    def write(self, store: Store, model: Model) -> None:
        """Put the books so far into the store, the trace beside them: logs/profile-<model>-<process>.txt, .json.gz."""
        name = f"{LOGS}/profile-{model.name}-{os.getpid()}"
        store.write(f"{name}.txt", self.summary().encode())
        if self.trace is not None and not store.exists(f"{name}.json.gz"):
            store.write(f"{name}.json.gz", self.trace)

    def summary(self) -> str:
        """One page: tokens/s of the model, share of useful tokens, MFU on a known GPU, seconds per stage."""
        total = max(1e-9, sum(self.seconds.values()))
        model = self.seconds["forward"] + self.seconds["head"]
        speed = self.useful_tokens / model if model else 0.0
        lines = [
            f"device           {self._device_name()}",
            f"tokens read      {self.useful_tokens:,} ({self.useful_tokens / max(1, self.padded_tokens):.1%} of those"
            f" computed, the rest is padding)",
            f"speed            {speed:,.0f} tokens/s in the model, {self.useful_tokens / total:,.0f} over all",
        ]
        peak = peak_of(self._device_name())
        if peak is not None:
            lines.append(
                f"MFU              {self.flops / max(1e-9, model) / peak:.1%} of {peak / 1e12:.0f} TFLOP/s (bf16)"
            )
        lines += [
            f"{stage:16} {seconds:10.2f} s  {seconds / total:6.1%}"
            for stage, seconds in sorted(self.seconds.items(), key=lambda pair: -pair[1])
        ]
        return "\n".join(lines) + "\n"

    def _device_name(self) -> str:
        return torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else str(self._device)
