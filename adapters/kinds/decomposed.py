"""PiSSA and OLoRA: adapters that begin with a part s B0 A0 of the base, which is meanwhile taken out of it.

PEFT takes it out of the base's matrices. Here it is a fixed product beside them, so that the base stays what it is, and
what is written is what was trained: plain LoRA of twice the rank, s (B A - B0 A0) on the unchanged base, as PEFT
converts such adapters (Meng et al. 2024; Buyukakyuz 2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from adapters.base.spread import whole
from adapters.folders.folder import Factors, scaling
from adapters.folders.sites import Site
from study.config import Lora
from study.errors import ConfigError

_known: WeakKeyDictionary[nn.Module, tuple[object, dict[str, Factors]]] = WeakKeyDictionary()


def parts(base: nn.Module, lora: Lora, sites: Sequence[Site]) -> dict[str, Factors]:
    """B0 and A0 of every module, float32 on the base's device; those of a base are kept for its next gang.

    Raises ConfigError where a matrix has no part of such a rank.
    """
    asked = (lora.init, lora.r, lora.alpha, lora.rslora, tuple(sites))
    known = _known.get(base)
    if known is None or known[0] != asked:
        check_rank(lora, sites)
        modules = dict(base.named_modules())
        _known[base] = known = asked, {site.name: _part(modules[site.name], lora) for site in sites}
    return known[1]


def check_rank(lora: Lora, sites: Sequence[Site]) -> None:
    """Raise ConfigError where a matrix has no part of such a rank."""
    for site in sites:
        least = min(site.fan_in, site.fan_out)
        if lora.r > least:
            problem = f"is more than {site.name} has, whose matrix is {site.fan_out} x {site.fan_in}"
            raise ConfigError("recipe.lora.r", lora.r, problem, f"set it to {least} at most")


@torch.no_grad()
def _part(module: nn.Module, lora: Lora) -> Factors:
    """What PEFT's `pissa_init` and `olora_init` begin with."""
    assert isinstance(module, nn.Linear | Conv1D)
    with whole([module.weight]):
        weight = module.weight.float()
        weight_OI = weight.T if isinstance(module, Conv1D) else weight
        factor = scaling(lora.alpha, lora.r, lora.rslora)
        if lora.init == "olora":
            q, r = torch.linalg.qr(weight_OI)
            return Factors(r[: lora.r].contiguous(), q[:, : lora.r].contiguous(), factor)
        left, values, right = torch.linalg.svd(weight_OI, full_matrices=False)
        roots = (values[: lora.r] / factor).sqrt()
        return Factors(roots[:, None] * right[: lora.r], left[:, : lora.r] * roots, factor)


def converted(own: Factors, part: Factors) -> Factors:
    """A trained adapter's module as plain LoRA on the unchanged base; both on the CPU, in the adapter's dtype."""
    a0, b0 = (one.to("cpu", own.a.dtype) for one in (part.a, part.b))
    return Factors(torch.cat([own.a, a0]), torch.cat([own.b, -b0], 1), own.scaling)


def twice(lora: Lora) -> Lora:
    """The keys of what is `converted`: equal in what its product is multiplied by."""
    more = math.sqrt(2) if lora.rslora else 2
    return lora.model_copy(update={"r": 2 * lora.r, "alpha": lora.alpha * more, "init": "default"})


def is_as_begun(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether `converted` matrices, by their names in a file, still come to nothing."""
    for name, matrix in weights.items():
        trained, begun = matrix.chunk(2, dim=0 if ".lora_A." in name else 1)
        if not torch.equal(trained, begun if ".lora_A." in name else -begun):
            return False
    return True
