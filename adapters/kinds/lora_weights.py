"""LoRA's weights, in PEFT's terms: initialised, trained as rows of a bank's sheet, and written.

Invariants: initial weights are a function of (seed, adapter_id, module name) alone, or of seed and module name where
all are to start alike (`start: shared`), whatever else is trained in the process or in the gang; a written folder loads
in PEFT and vLLM as it is, holds no pickle and no path of this machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig
from torch import nn
from transformers import PreTrainedModel

from adapters.bank.bank import LoraBank
from adapters.bank.dropout import Dropout
from adapters.base.recomputed import Recomputed
from adapters.folders.folder import MAGNITUDE, PREFIX, AdapterWeights, Factors, UnsupportedAdapter, scaling
from adapters.folders.sites import Site, sites_named
from adapters.folders.targeting import meant, names_for
from adapters.kinds.decomposed import converted, parts, twice
from adapters.kinds.files import write_files
from study.config import Lora
from study.errors import ConfigError
from study.identity import digest
from study.models.resolve import Model


class LoraSheet(nn.Module):
    """A frozen base with a bank of fresh adapters on it, one per (adapter_id, seed)."""

    def __init__(
        self,
        base: PreTrainedModel,
        lora: Lora,
        members: Sequence[tuple[str, int]],
        device: torch.device,
        is_scaled: bool,
    ) -> None:
        super().__init__()
        sites = sites_named(base, modules_of(base, lora), is_scaled)
        self._parts = parts(base, lora, sites) if lora.init != "default" else {}
        self.bank = LoraBank(base, sites, lora.r, len(members), torch.float32, device)
        self.base, self._ratio = base, lora.lr_ratio
        self._recomputed: Recomputed | None = None
        lengths = self.bank.lengths()
        for slot, (adapter_id, seed) in enumerate(members):
            fresh = AdapterWeights(self._parts) if self._parts else initial(lora, sites, adapter_id, seed)
            self.bank.put(slot, with_magnitudes(fresh, lengths))
        self.bank.put_beside({name: replace(part, b=-part.b) for name, part in self._parts.items()})

    @property
    def weights(self) -> nn.Parameter:
        """The sheet, in one piece."""
        return self.bank.sheet

    @property
    def parts(self) -> Sequence[nn.Parameter]:
        return [self.weights]

    @property
    def model(self) -> PreTrainedModel:
        return self.base

    @property
    def slots(self) -> int:
        return self.bank.slots

    @property
    def decayed(self) -> int:
        """Weight decay applies to the whole row: an adapter consists of matrices."""
        return self.bank.sheet.shape[1]

    @property
    def pace(self) -> torch.Tensor | None:
        """With LoRA+ B goes faster than A, and so do magnitudes: PEFT has them in one group."""
        if self._ratio is None:
            return None
        shapes = [shape for site in self.bank.sites for shape in site.shapes(self.bank.rank)]
        sizes = torch.tensor([math.prod(shape) for shape in shapes])
        each = len(shapes) // len(self.bank.sites)
        paces = torch.tensor([1.0 if i % each == 0 else self._ratio for i in range(len(shapes))])
        return paces.repeat_interleave(sizes).to(self.weights.device)

    def logits(
        self, inputs: Mapping[str, object], slots: Sequence[int | None], dropout: Dropout | None
    ) -> torch.Tensor:
        with self.bank.rows(slots, dropout):
            logits_BTV: torch.Tensor = self.base(**inputs).logits
        return logits_BTV

    def squared_norms(self) -> torch.Tensor:
        return self.bank.squared_norms()

    def copies(self, slot: int, parts: Sequence[torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        own = self.bank.get(slot, None if parts is None else parts[0])
        if self._parts:
            own = AdapterWeights({name: converted(one, self._parts[name]) for name, one in own.modules.items()})
        return named(own)

    def begin(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Raises UnsupportedAdapter where it is not of these modules, or has another rank."""
        if {name: one.shape for name, one in tensors.items()} != {n: one.shape for n, one in self.copies(slot).items()}:
            raise UnsupportedAdapter("the adapter to begin with has other modules or ranks than the recipe gives it")
        found, rank = {}, self.bank.rank  # of one that is `converted` the first half was trained
        for module, fresh in self.bank.get(slot).modules.items():
            a, b = (tensors[f"{PREFIX}{module}.lora_{half}.weight"] for half in "AB")
            found[module] = Factors(a[:rank], b[:, :rank], fresh.scaling, tensors.get(f"{PREFIX}{module}.{MAGNITUDE}"))
        self.bank.put(slot, AdapterWeights(found))

    def recompute(self) -> None:
        self._recomputed = Recomputed(self.base, self.bank.again)

    def detach(self) -> None:
        self.bank.detach()
        if self._recomputed is not None:
            self._recomputed.detach()


def modules_of(base: PreTrainedModel, lora: Lora) -> tuple[str, ...]:
    """The full names of the modules that are trained. Raises ConfigError."""
    try:
        return meant(base, lora.modules)
    except UnsupportedAdapter as error:
        fix = "name modules of the attention, or take another model"
        raise ConfigError("recipe.lora.modules", lora.modules, str(error), fix) from error


def lora_config(lora: Lora) -> LoraConfig:
    """PEFT's configuration of the recipe's LoRA."""
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT annotates int and computes with any number
        lora_dropout=lora.dropout,
        target_modules=lora.modules if isinstance(lora.modules, str) else list(lora.modules),
        use_rslora=lora.rslora,
        bias="none",
        task_type="CAUSAL_LM",
    )


def initial(lora: Lora, sites: Iterable[Site], adapter_id: str, seed: int) -> AdapterWeights:
    """A fresh adapter on these modules."""
    factor = scaling(lora.alpha, lora.r, lora.rslora)
    owner = None if lora.start == "shared" else adapter_id
    modules = {}
    for site in sites:
        name = f"{PREFIX}{site.name}.lora_"
        a = initial_weight(owner, seed, f"{name}A.weight", (lora.r, site.fan_in))
        b = initial_weight(owner, seed, f"{name}B.weight", (site.fan_out, lora.r))
        modules[site.name] = Factors(a, b, factor)
    return AdapterWeights(modules)


def initial_weight(owner: str | None, seed: int, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """PEFT's default start: B zero, A uniform in ±1/sqrt(in) (Kaiming with a = sqrt(5)), float32 on the CPU.

    `shape` is (r, in) for A and (out, r) for B; `name` is the parameter's name in the PEFT file. `owner` is the
    adapter_id, or None for a start that all adapters of the seed share.
    """
    if ".lora_A." not in name:
        return torch.zeros(shape)
    generator = torch.Generator().manual_seed(int(digest({"init": owner, "seed": seed, "name": name}), 16))
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def with_magnitudes(adapter: AdapterWeights, magnitudes: Mapping[str, torch.Tensor]) -> AdapterWeights:
    """An adapter with these magnitudes, by module; of modules that are not listed none."""
    return AdapterWeights({name: replace(own, magnitude=magnitudes.get(name)) for name, own in adapter.modules.items()})


def named(weights: AdapterWeights) -> dict[str, torch.Tensor]:
    """An adapter's matrices by their names in a PEFT file."""
    tensors = {}
    for name, factors in sorted(weights.modules.items()):
        tensors[f"{PREFIX}{name}.lora_A.weight"] = factors.a.contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = factors.b.contiguous()
        if factors.magnitude is not None:
            tensors[f"{PREFIX}{name}.{MAGNITUDE}"] = factors.magnitude.contiguous()
    return tensors


def write(folder: Path, lora: Lora, base: PreTrainedModel, model: Model, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write an adapter folder of `named` matrices that were trained by a recipe."""
    config = lora_config(lora if lora.init == "default" else twice(lora))
    config.use_dora = any(name.endswith(MAGNITUDE) for name in tensors)
    write_files(folder, told(config, base, tensors), model, tensors)


def told(config: LoraConfig, base: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """Give the keys of a configuration with which PEFT adapts the very modules of `named` matrices."""
    modules = sorted({name.removeprefix(PREFIX).partition(".lora_")[0] for name in tensors})
    return {**config.to_dict(), "target_modules": names_for(base, modules)}  # type: ignore[no-untyped-call]
