"""Adapters with weights that matter, of several shapes, and what they are as dense float64 matrices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from adapters.composing.composed import Composed, compose
from adapters.folders.folder import AdapterWeights, Factors
from study.composition import Composition, Method, Term, gathered

Dense = dict[str, torch.Tensor]
SHAPES = {  # outputs and inputs; one module has fewer than the ranks of several adapters make together
    "model.layers.0.self_attn.q_proj": (24, 20),
    "model.layers.0.mlp.down_proj": (20, 36),
    "model.layers.1.self_attn.q_proj": (24, 20),
    "model.layers.1.mlp.down_proj": (20, 36),
    "score": (6, 20),
}


def at_random(seed: int, rank: int = 4, scaling: float = 2.0, shapes: Mapping[str, Any] = SHAPES) -> AdapterWeights:
    draw = torch.Generator().manual_seed(seed)
    return AdapterWeights(
        {
            name: Factors(torch.randn(rank, i, generator=draw), torch.randn(o, rank, generator=draw), scaling)
            for name, (o, i) in shapes.items()
        }
    )


def without(weights: AdapterWeights, *modules: str) -> AdapterWeights:
    return AdapterWeights({name: own for name, own in weights.modules.items() if name not in modules})


def dense(weights: AdapterWeights) -> Dense:
    return {name: own.scaling * (own.b.double() @ own.a.double()) for name, own in weights.modules.items()}


def norm(matrices: Dense) -> float:
    return sum(float(x.square().sum()) for x in matrices.values()) ** 0.5


def apart(one: Dense, other: Dense) -> float:
    """The difference beside the second, relative in the Frobenius norm."""
    assert one.keys() == other.keys()
    return norm({name: one[name] - other[name] for name in one}) / norm(other)


def saved(model: Path, config: LoraConfig, folder: Path, seed: int) -> Path:
    """An adapter of a base as PEFT writes it."""
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config)
    draw = torch.Generator().manual_seed(seed)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2, generator=draw)
    wrapped.save_pretrained(folder)
    return folder


def composition(method: Method, *terms: Term, **parameters: Any) -> Composition:
    """Of terms in any order."""
    return Composition(method, gathered(terms), **parameters)


def composed(
    method: Method, weights: Mapping[str, float], parts: Mapping[str, AdapterWeights], **more: Any
) -> Composed:
    """Of parts by their adapter_ids, with a weight each."""
    asked = composition(method, *(Term(name, weight) for name, weight in weights.items()), **more)
    return compose(asked, [parts[term.adapter_id] for term in asked.terms])
