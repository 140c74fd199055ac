"""What composing adapters costs on a CPU.

`python -m bench.composing [FOLDER]` composes adapters at random of the quickstart's shapes (polyglot-nano, r 8) from
their folders below FOLDER (a scratch one), and of a 1 B model's (Llama 3.2's: 16 layers of width 2048, r 16) in memory.
One thread, as an evaluator of one CPU has; CPU seconds and wall-clock, with the load of the machine.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from adapters.base.loading import load_model
from adapters.composing.composed import compose
from adapters.composing.folder import write
from adapters.composing.geometry import pairs
from adapters.composing.parts import read_parts
from adapters.folders.folder import AdapterWeights, Factors
from adapters.folders.targeting import meant
from adapters.kinds import lora_weights
from study.composition import Composition, Term
from study.config import Lora, ModelConfig
from study.models.resolve import resolve

QUICKSTART = "examples/quickstart/polyglot-nano"
ADAPTERS, COMPOSITIONS = 44, 100
WIDE = {  # outputs and inputs of a layer's modules
    "self_attn.q_proj": (2048, 2048),
    "self_attn.k_proj": (512, 2048),
    "self_attn.v_proj": (512, 2048),
    "self_attn.o_proj": (2048, 2048),
    "mlp.gate_proj": (8192, 2048),
    "mlp.up_proj": (8192, 2048),
    "mlp.down_proj": (2048, 8192),
}


def at_random(shapes: Mapping[str, tuple[int, int]], rank: int, seed: int) -> AdapterWeights:
    draw = torch.Generator().manual_seed(seed)
    return AdapterWeights(
        {
            name: Factors(torch.randn(rank, i, generator=draw), torch.randn(o, rank, generator=draw) / o, 2.0)
            for name, (o, i) in shapes.items()
        }
    )


def timed(what: str, work: Callable[[], object]) -> None:
    began, wall = time.process_time(), time.perf_counter()
    work()
    print(f"{what:70} {time.process_time() - began:8.2f} CPU s {time.perf_counter() - wall:8.2f} s", flush=True)


def asked(number: int, **more: object) -> Composition:
    """Three terms of all adapters, others for each number."""
    first = number % ADAPTERS
    others = (first, first + 1 + number // ADAPTERS, first + 20)
    names = sorted(f"{other % ADAPTERS:02}" for other in others)
    terms = tuple(Term(name, weight) for name, weight in zip(names, (1.0, 0.5, -0.5), strict=True))
    return Composition(terms=terms, **more)  # type: ignore[arg-type]


def quickstart(folder: Path) -> None:
    model = resolve(ModelConfig(id=QUICKSTART), "float32", "models[0]")
    base = load_model(model)
    modules = {name: base.get_submodule(name).weight for name in meant(base, "all-linear")}
    shapes = {name: (weight.shape[0], weight.shape[1]) for name, weight in modules.items()}
    recipe = Lora(r=8, alpha=16)
    for number in range(ADAPTERS):
        tensors = lora_weights.named(at_random(shapes, 8, number))
        lora_weights.write(folder / f"{number:02}", recipe, base, model, tensors)
    folders = {f"{number:02}": folder / f"{number:02}" for number in range(ADAPTERS)}
    terms = [Term(name) for name in folders]
    read_parts(base, terms[:1], {"00": folders["00"]})  # what PEFT says of the base is kept
    known = dict(zip(folders, read_parts(base, terms, folders), strict=True))

    def all_of(**more: object) -> Callable[[], object]:
        def work() -> None:
            for number in range(COMPOSITIONS):
                composition = asked(number, **more)
                compose(composition, [known[term.adapter_id] for term in composition.terms])

        return work

    def stored() -> None:
        for number in range(COMPOSITIONS):
            composition = asked(number, method="sum")
            own = {term.adapter_id: folders[term.adapter_id] for term in composition.terms}
            made = compose(composition, read_parts(base, composition.terms, own))
            write(folder / f"made-{number}", made, model, base)

    all_of(method="sum")()  # first calls
    timed(f"{COMPOSITIONS} sums of three terms, geometry included", all_of(method="sum"))
    timed("the same, parts read from their folders, results written", stored)
    timed(f"{COMPOSITIONS} svd to rank 8", all_of(method="svd", rank=8))
    timed(f"{COMPOSITIONS} ties at rank full", all_of(method="ties", density=0.2, rank="full"))
    timed(f"{COMPOSITIONS} ties at rank 16", all_of(method="ties", density=0.2, rank=16))
    timed(f"{COMPOSITIONS} dare at rank full", all_of(method="dare", density=0.2, rank="full"))


def wide() -> None:
    shapes = {f"model.layers.{layer}.{name}": shape for layer in range(16) for name, shape in WIDE.items()}
    parts = [at_random(shapes, 16, seed) for seed in range(3)]
    terms = tuple(Term(name, weight) for name, weight in (("a", 1.0), ("b", 0.5), ("c", -0.5)))
    timed("1 B: sum", lambda: compose(Composition("sum", terms), parts))
    timed("1 B: geometry of its three parts alone", lambda: pairs(parts))
    timed("1 B: svd to rank 16", lambda: compose(Composition("svd", terms, rank=16), parts))
    square = torch.randn(2048, 2048)
    timed("1 B: a dense 2048 x 2048 singular value decomposition", lambda: torch.linalg.svd(square))
    layer = [AdapterWeights({n: own for n, own in part.modules.items() if ".layers.0." in n}) for part in parts]
    for method, rank in (("ties", "full"), ("dare", "full"), ("ties", 16)):
        asked = Composition(method, terms, rank=rank, density=0.2)  # type: ignore[arg-type]
        timed(f"1 B, one layer of 16: {method} at rank {rank}", lambda asked=asked: compose(asked, layer))  # type: ignore[misc]


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as scratch:
        quickstart(Path(sys.argv[1] if len(sys.argv) > 1 else scratch))
    wide()
    print(f"load {os.getloadavg()[0]:.1f}")
