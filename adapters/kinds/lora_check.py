"""Whether PEFT loads a LoRA folder as it was trained: found on the base itself before anything is trained.

An adapter of rank 1 with weights at random is run as training runs it, written, read back by PEFT and run as PEFT runs
it. Both must say the same.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from adapters.bank import LoraBank, Site, sites_named
from adapters.folder import AdapterWeights, Factors, UnsupportedAdapter, scaling
from adapters.kinds.lora_weights import modules_of, named, write
from adapters.loaded import peft_model, runs
from adapters.probe import ROWS, agreement, said, tokens_of
from study.config import Lora
from study.errors import ConfigError
from study.models.resolve import Model
from study.scratch import scratch


def check(base: PreTrainedModel, lora: Lora, model: Model) -> None:
    """Raise ConfigError where what is trained on a base would not be what PEFT loads."""
    least = lora.model_copy(update={"r": 1, "dropout": 0.0})
    sites = sites_named(base, modules_of(base, lora))
    adapter = _at_random(sites, scaling(least.alpha, 1, least.rslora))
    tokens_BT = tokens_of(base)
    alone = said(base, tokens_BT)
    bank = LoraBank(base, sites, 1, 1, torch.float32, base.device)
    try:
        bank.put(0, adapter)
        with bank.rows([0] * ROWS):
            ours = said(base, tokens_BT)
    finally:
        bank.detach()
    try:
        with scratch() as local:
            write(local / "adapter", least, base, model, named(adapter))
            theirs = said(runs(peft_model(base, local / "adapter")), tokens_BT)
    except UnsupportedAdapter as error:
        raise _refused(lora, str(error)) from error
    found = agreement(ours, theirs, alone, base.dtype.itemsize)
    if not found.holds:
        raise _refused(lora, f"PEFT loads an adapter of this model otherwise than it is trained ({found.off:.2g} nats)")


def _at_random(sites: tuple[Site, ...], factor: float) -> AdapterWeights:
    """Weights that change each module by about a tenth of what a matrix of its size would do at its start."""
    draw = torch.Generator().manual_seed(0)
    return AdapterWeights(
        {
            site.name: Factors(
                torch.randn(1, site.fan_in, generator=draw) / site.fan_in**0.5,
                0.1 / factor * torch.randn(site.fan_out, 1, generator=draw),
                factor,
            )
            for site in sites
        }
    )


def _refused(lora: Lora, reason: str) -> ConfigError:
    fix = "name modules of the attention, or take another model"
    return ConfigError("recipe.lora.modules", lora.modules, reason, fix)
