"""How fast a device scores and trains, beside what is plain, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from adapters.bank.bank import for_adapters
from bench.gpu.checks import plain_rows
from bench.gpu.gang import Batches, adapter, by_peft, gang
from bench.gpu.kit import Kit, Shape
from evaluators.forward.engine import Engine
from evaluators.forward.profile import forward_flops
from evaluators.forward.rows import Row, shared_rows
from study.flops import LORA_TRAINING, peak_of

RANKS = (16, 32, 48)  # of adapters, and of sums of two and of three of them
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def speeds(kit: Kit) -> None:
    for shape in kit.timed:
        base = shape.model(torch.float32 if kit.tiny else torch.bfloat16, kit.device)
        _scoring(kit, shape, base)
        _training(kit, shape, base)
        del base
        if kit.is_cuda:
            torch.cuda.empty_cache()


def _told(kit: Kit, what: str, tokens: int, flops: float, seconds: float) -> None:
    kit.tell("speed", what, tokens / seconds, "tokens/s")
    peak = peak_of(kit.machine()["device"]) if kit.is_cuda else None
    if peak is not None:
        kit.tell("speed", f"{what}, MFU", flops / seconds / peak)


def _scoring(kit: Kit, shape: Shape, base: Any) -> None:
    requests, engine = shape.requests(), Engine(base)
    body, head = forward_flops(base)
    count, scored = len(requests), sum(request.n_scored for request in requests)
    read = sum(len(request.tokens) - 1 for request in requests)
    flops = body * read + head * scored

    def scoring(rows: list[Row], count: int) -> Callable[[], Any]:
        return lambda: engine.loglikelihoods(rows, count)

    plain, shared = plain_rows(requests, range(count)), shared_rows(requests, range(count), 2 * shape.tokens)
    seconds = kit.seconds(scoring(plain, count))
    _told(kit, f"scoring, {shape.name}, row by row", read, flops, seconds)
    alike = kit.seconds(scoring(shared, count))
    kit.tell("speed", f"scoring, {shape.name}, shared prompts", seconds / alike, "times as fast")
    _told(kit, f"tokens of shared rows, {shape.name}", sum(map(len, shared)), body * sum(map(len, shared)), alike)
    banked = [row.numbered_from(n * count, n) for n in range(4) for row in shared]
    lasted = {}
    for rank in RANKS:
        four = {n: adapter(base, n, 0.05, rank) for n in range(4)}
        engine.bank = for_adapters(base, four, 4, base.dtype)
        lasted[rank] = kit.seconds(scoring(banked, 4 * count))
        engine.bank.detach()
    engine.bank = None
    first, *sums = RANKS
    kit.tell("speed", f"scoring, {shape.name}, four adapters in a bank", 4 * alike / lasted[first], "times one without")
    for rank in sums:
        what = f"scoring, {shape.name}, a bank of rank {rank}"
        kit.tell("speed", what, lasted[rank] / lasted[first], f"times one of rank {first}")
    _profile(kit, f"scoring, {shape.name}", scoring(shared, count))


def _training(kit: Kit, shape: Shape, base: Any) -> None:
    rows, tokens = (2, 24) if kit.tiny else (4, 512)
    batches = Batches(shape, base.device, rows, tokens)
    weights = sum(weight.numel() for weight in base.parameters())
    alone = sorted(by_peft(base, batches, 6))[2]
    _told(kit, f"training, {shape.name}, PEFT, one adapter", rows * tokens, 0, alone)
    for members in (1, 4):
        with gang(base, list(range(members)), batches) as some:
            seconds = kit.seconds(some.step)
            each = members * rows * tokens
            _told(kit, f"training, {shape.name}, a gang of {members}", each, LORA_TRAINING * weights * each, seconds)
            kit.tell("speed", f"training, {shape.name}, a gang of {members}", alone * members / seconds, "times PEFT")
            if kit.is_cuda:
                kit.tell("memory", f"at most, with a gang of {members}, {shape.name}", _peak(kit, some.step), "GiB")
            if members > 1:
                _profile(kit, f"training, {shape.name}", some.step)


def _peak(kit: Kit, work: Callable[[], Any]) -> float:
    torch.cuda.reset_peak_memory_stats(kit.device)
    work()
    kit.wait()
    return torch.cuda.max_memory_allocated(kit.device) / 2**30


def _profile(kit: Kit, what: str, work: Callable[[], Any]) -> None:
    """What the device does in a run, and how much of the time it does nothing."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if kit.is_cuda and torch.profiler.ProfilerActivity.CUDA in torch.profiler.supported_activities():
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    seconds = kit.seconds(work, 1)
    with torch.profiler.profile(activities=kinds) as profiler:
        work()
        kit.wait()
    events = profiler.key_averages()
    busy = sum(event.self_device_time_total for event in events) / 1e6
    if busy:
        kit.tell("profile", f"{what}: the device is busy", busy / seconds, "of the time")
    key = "self_device_time_total" if busy else "self_cpu_time_total"
    total = sum(getattr(event, key) for event in events) or 1
    for event in sorted(events, key=lambda event: -getattr(event, key))[:5]:
        kit.tell("profile", f"{what}: {event.key[:60]}", getattr(event, key) / total, "of it")
    for name in (*WAITS, "cudaMemcpyAsync", "cudaLaunchKernel"):
        if found := sum(event.count for event in events if event.key == name):
            kit.tell("profile", f"{what}: {name}", found, "times")
