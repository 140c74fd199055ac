"""Whether PEFT loads a LoRA folder as it was trained: found on the base itself before anything is trained.

An adapter of rank 1 with weights at random is run as training runs it, beside a row of the base's alone, written, read
back by PEFT and run as PEFT runs it. Both must say the same, of an adapter strong enough for a difference to show.
"""

from __future__ import annotations

import warnings
from functools import partial

import torch
from transformers import PreTrainedModel

from adapters.bank.magnitudes import Magnitudes
from adapters.base.loading import shell_of
from adapters.base.probe import said, tokens_of
from adapters.folders.folder import UnsupportedAdapter, scaling
from adapters.folders.sites import sites_named
from adapters.kinds.decomposed import check_rank
from adapters.kinds.lora_weights import modules_of, named, with_magnitudes, write
from adapters.modules.comparison import SHARE, at_random, banked, compared_strongly
from adapters.modules.loaded import peft_model
from study.config import Lora
from study.errors import ConfigError
from study.models.resolve import Model
from study.scratch import scratch


def check_plan(lora: Lora, model: Model) -> None:
    """Raise ConfigError where a base has matrices that have no part of the rank to begin with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell = shell_of(model)
    check_rank(lora, sites_named(shell, modules_of(shell, lora)))


def check(base: PreTrainedModel, lora: Lora, model: Model, is_scaled: bool = False) -> None:
    """Raise ConfigError where what is trained on a base would not be what PEFT loads. `is_scaled` is DoRA."""
    least = lora.model_copy(update={"r": 1, "dropout": 0.0, "init": "default"})
    sites = sites_named(base, modules_of(base, lora))
    shapes = {site.name: (1, site.fan_in, site.fan_out) for site in sites}
    adapter = at_random(shapes, dict.fromkeys(shapes, scaling(least.alpha, 1, least.rslora)))
    if is_scaled:
        adapter = with_magnitudes(adapter, _magnitudes(base, list(shapes)))
    alone = said(base, tokens_of(base))
    try:
        with scratch() as local:
            write(local / "adapter", least, base, model, named(adapter))
            wrapped = peft_model(base, local / "adapter")
        found = compared_strongly(base, partial(banked, dtype=torch.float32), adapter, wrapped, alone)
    except UnsupportedAdapter as error:
        raise _refused(lora, f"PEFT does not load back what is trained: {error}") from error
    if not found.holds:
        raise _refused(lora, f"PEFT loads an adapter of this model otherwise than it is trained ({found.off:.2g} nats)")


def _magnitudes(base: PreTrainedModel, names: list[str]) -> dict[str, torch.Tensor]:
    """Lengths of rows that are a little off their own."""
    draw = torch.Generator().manual_seed(0)
    lengths = {name: Magnitudes(base.get_submodule(name)).begin().cpu() for name in names}
    return {name: own * (1 + SHARE * torch.rand(len(own), generator=draw)) for name, own in lengths.items()}


def _refused(lora: Lora, reason: str) -> ConfigError:
    fix = "name modules of the attention, or take another model"
    return ConfigError("recipe.lora.modules", lora.modules, reason, fix)
