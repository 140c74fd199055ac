"""Which modules of a base a recipe means, as PEFT itself resolves it, and names under which PEFT finds exactly these.

PEFT reads names in ways of its own: a last part matches wherever it stands, names of experts of older models become
fused parameters, some modules are refused. So it is PEFT that is asked, on a copy of the base without weights.
Invariant: a config written with `names_for` these modules adapts these modules in PEFT, all of them and nothing else.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapters.folders.folder import UnsupportedAdapter
from adapters.quantising.weights import is_quantised

KEPT = 256  # answers


@dataclass(frozen=True)
class Targets:
    """What is adapted: linear `modules` by their full names, and `parameters` that hold several experts at once."""

    modules: tuple[str, ...]
    parameters: tuple[str, ...] = ()


def by_peft(base: PreTrainedModel, names: str | Sequence[str]) -> Targets:
    """What PEFT adapts for these `target_modules`. Raises UnsupportedAdapter with its words where it refuses."""
    told = base.config.to_json_string(use_diff=False)
    return _resolved(_Question(type(base), told, names if isinstance(names, str) else tuple(names), base.config))


@dataclass(frozen=True)
class _Question:
    """Equal ones have equal answers: a class of models, its configuration as text, and names."""

    kind: type[PreTrainedModel]
    told: str
    names: str | tuple[str, ...]
    config: PreTrainedConfig = field(compare=False)


@lru_cache(KEPT)
def _resolved(asked: _Question) -> Targets:
    names = asked.names if isinstance(asked.names, str) else list(asked.names)
    lora = LoraConfig(r=1, target_modules=names, task_type="CAUSAL_LM")
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuner = get_peft_model(asked.kind(copy.deepcopy(asked.config)), lora).base_model
    except (ValueError, NotImplementedError, TypeError) as error:
        raise UnsupportedAdapter(f"PEFT does not adapt {names!s:.100} here: {error}") from error
    modules, parameters = cast(list[str], tuner.targeted_module_names), cast(list[str], tuner.targeted_parameter_names)
    return Targets(tuple(modules), tuple(parameters))


def meant(base: PreTrainedModel, modules: str | Sequence[str]) -> tuple[str, ...]:
    """The linear modules that a recipe's `modules` mean, in the base's order. Raises UnsupportedAdapter.

    `all-linear` leaves out what PEFT cannot be told to adapt together with the others. Names have to mean linear
    modules alone.
    """
    if modules == "all-linear":
        wanted = set(all_linear(base).modules) & set(linear(base))
    else:
        targets = by_peft(base, modules)
        odd = [*targets.parameters, *sorted(set(targets.modules) - set(linear(base, head=True)))]
        if odd:
            raise UnsupportedAdapter(f"PEFT reads {modules} as {_some(odd)} too, which is no linear module")
        wanted = set(targets.modules)
    found = tuple(name for name in linear(base, head=True) if name in wanted)
    names_for(base, found)
    return found


def other_than_first(base: PreTrainedModel, modules: str | Sequence[str]) -> tuple[str, ...]:
    """What is `meant`, where the first release meant others: every linear module but the head, or of these last names.

    Empty where it meant the same. Raises UnsupportedAdapter.
    """
    head = base.get_output_embeddings()  # type: ignore[no-untyped-call]
    ends = () if isinstance(modules, str) else tuple(modules)
    first = {
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and (module is not head if isinstance(modules, str) else any(f".{name}".endswith(f".{end}") for end in ends))
    }
    now = meant(base, modules)
    return now if set(now) != first else ()


def linear(base: PreTrainedModel, head: bool = False) -> tuple[str, ...]:
    """Every linear module; the output head's only with `head`."""
    own = base.get_output_embeddings()  # type: ignore[no-untyped-call]
    return tuple(
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and (head or module is not own) and _is_linear(module)
    )


@torch.no_grad()
def _is_linear(module: nn.Linear | Conv1D) -> bool:
    """Whether a module computes x W + b: one of a class with a forward of its own may do otherwise (by groups)."""
    weight = module.weight
    if is_quantised(module):
        return True
    if type(module).forward in (nn.Linear.forward, Conv1D.forward) or not weight.numel():  # spread ones are empty here
        return True
    if weight.is_meta:
        module = copy.deepcopy(module).to_empty(device="cpu")
        for parameter in module.parameters():
            nn.init.normal_(parameter)
        weight = module.weight
    x = torch.ones(1, 2, module.in_features if isinstance(module, nn.Linear) else module.nx).to(weight)
    try:
        y = module(x)
    except (RuntimeError, ValueError, IndexError):
        return False
    expected = nn.functional.linear(x, weight, module.bias)
    same = isinstance(y, torch.Tensor) and y.shape == expected.shape
    return same and torch.allclose(y, expected, rtol=0.05, atol=0.05)


def all_linear(base: PreTrainedModel) -> Targets:
    """What `all-linear` means in PEFT; where PEFT refuses some of these modules, what it means without them."""
    try:
        return by_peft(base, "all-linear")
    except UnsupportedAdapter:
        names = linear(base)
        accepted = [last for last in _last_parts(names) if _accepts(base, last)]
        if not accepted:
            raise
        return by_peft(base, accepted)


def left_out(base: PreTrainedModel) -> tuple[str, ...]:
    """What `all-linear` would take in PEFT, or by its name, and is not trained: by last parts, each once.

    They are linear modules that PEFT cannot be told to adapt, and parameters that hold several experts at once.
    """
    parameters = all_linear(base).parameters
    modules = set(linear(base)) - set(meant(base, "all-linear"))
    return tuple(_last_parts([*modules, *(name.removesuffix(".weight") for name in parameters)]))


def names_for(base: PreTrainedModel, modules: Sequence[str]) -> list[str]:
    """Names under which PEFT adapts exactly these modules: last parts where these tell enough, else full names.

    Raises UnsupportedAdapter where it can be told under no names.
    """
    reasons = []
    for names in (_last_parts(modules), sorted(modules)):
        try:
            found = by_peft(base, names)
        except UnsupportedAdapter as error:
            reasons.append(str(error))
            continue
        if set(found.modules) == set(modules) and not found.parameters:
            return names
        more = sorted({*found.modules, *found.parameters} - set(modules))
        less = sorted(set(modules) - set(found.modules))
        reasons.append(f"for {names[0]} … PEFT adapts {_some(more)} too and leaves out {_some(less)}")
    raise UnsupportedAdapter(f"no names by which PEFT adapts exactly these modules: {reasons[-1]}")


def _accepts(base: PreTrainedModel, name: str) -> bool:
    try:
        return not by_peft(base, [name]).parameters
    except UnsupportedAdapter:
        return False


def _last_parts(names: Iterable[str]) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in names})


def _some(names: Sequence[str]) -> str:
    return f"{names[0]} ({len(names)} in all)" if names else "none"
