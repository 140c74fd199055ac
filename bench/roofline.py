"""How much of scoring and of training is the base's matrix products: CPU seconds on one thread.

`python -m bench.roofline [CONFIG] [GANG] [ROUNDS]` scores an adapter on every target of the config, and trains a gang
of that many adapters, each in a warm process. Once, every matrix product is noted with the shapes and layouts that it
was called with, forward and backward; then the same products are computed alone, in the same order. Both are done in
turn, ROUNDS times. The limit is the products with the base's matrices; all others (the low-rank ones of adapters) are
beside it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.composed import Bench, cpu_seconds
from study.config import StudyConfig
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve_all

aten = torch.ops.aten
SECOND = {  # which argument of a product is its second matrix
    aten.mm.default: 1,
    aten.addmm.default: 2,
    aten.bmm.default: 1,
    aten.baddbmm.default: 2,
    torch.ops.mkldnn._linear_pointwise.default: 1,
}
Call = tuple[Any, tuple[Any, ...], Mapping[str, Any]]


class Noted(TorchDispatchMode):
    """The matrix products that are computed within; of the base are those whose second matrix has a shape of its own.

    Such a matrix is kept as it is, all else by its layout.
    """

    def __init__(self, base: torch.nn.Module) -> None:
        super().__init__()
        shapes = {tuple(weight.shape) for weight in base.parameters() if weight.dim() == 2}
        self._shapes = shapes | {shape[::-1] for shape in shapes}
        self.of_base: list[Call] = []
        self.others: list[Call] = []
        self._layouts: dict[object, torch.Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (second := SECOND.get(func)) is not None:
            is_base = tuple(args[second].shape) in self._shapes
            kept = tuple(one if is_base and at == second else self._like(one) for at, one in enumerate(args))
            (self.of_base if is_base else self.others).append((func, kept, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _like(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        layout = (value.shape, value.stride(), value.dtype)
        if layout not in self._layouts:
            self._layouts[layout] = torch.empty_strided(*layout[:2], dtype=value.dtype).normal_()
        return self._layouts[layout]


def again(calls: list[Call]) -> None:
    with torch.no_grad():
        for func, args, kwargs in calls:
            func(*args, **kwargs)


def told(name: str, base_model: torch.nn.Module, work: Callable[[], object], rounds: int) -> None:
    """Note what is computed, then time it and its products in turn."""
    work()  # the first time adapters are looked at, too
    with Noted(base_model) as noted:
        work()
    whole, base, others = [], [], []
    for _ in range(rounds):
        whole.append(cpu_seconds(work))
        base.append(cpu_seconds(lambda: again(noted.of_base)))
        others.append(cpu_seconds(lambda: again(noted.others)))
    shares = [sorted(part / all_ for part, all_ in zip(parts, whole, strict=True)) for parts in (base, others)]
    print(
        f"{name}: {statistics.median(whole):.2f} CPU s, of which products of the base "
        + " and others ".join(f"{statistics.median(one):.2f} ({one[0]:.2f} to {one[-1]:.2f})" for one in shares),
        flush=True,
    )


def scoring(config: StudyConfig, folder: Path, rounds: int) -> None:
    bench = Bench(config, folder, 1)
    marks = iter(range(rounds + 2))
    told("scoring", bench.evaluator._base, lambda: bench.score(bench.trained, f"once{next(marks)}"), rounds)


def training(config: StudyConfig, folder: Path, gang: int, rounds: int) -> None:
    from trainers.job import Job, Setup
    from trainers.worker import Worker

    library, model = TaskLibrary.of(config), resolve_all(config)[0]
    sources = [library.source_examples(source) for source in config.source_list()[:gang]]
    worker, setup = Worker(0, 1), Setup(model, config.recipe, config.training)
    worker.train(setup, [Job("warm", 17, sources[0][:16])], folder)
    assert worker.base is not None
    jobs = [Job(f"one-{number}", 17, examples) for number, examples in enumerate(sources)]
    told(f"training, a gang of {gang}", worker.base.module, lambda: worker.train(setup, jobs, folder), rounds)


def main(file: str, gang: int, rounds: int) -> None:
    torch.set_num_threads(1)
    config = load(file, [], None)
    with tempfile.TemporaryDirectory() as folder:
        scoring(config, Path(folder) / "store", rounds)
        training(config, Path(folder) / "trained", gang, rounds)


if __name__ == "__main__":
    given = (*sys.argv[1:], *["examples/quickstart/study.yaml", "11", "3"][len(sys.argv) - 1 :])
    print(f"load {os.getloadavg()[0]:.1f}")
    main(given[0], int(given[1]), int(given[2]))
    print(f"load {os.getloadavg()[0]:.1f}")
