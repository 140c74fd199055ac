"""Reading an adapter folder in PEFT format into plain matrices, or refusing it with a reason.

Invariant: what is returned means the same as what PEFT would load: y = W x + scaling * B A x for each module named,
nothing for the others. Whatever else a PEFT folder can say (another adapter type, DoRA's magnitudes, trained biases,
whole modules, a base changed by the initialisation) is refused, never left out silently.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file

from study.models.peft_config import HARMLESS_STARTS, LARGEST, REPEATABLE_STARTS
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE

PREFIX = "base_model.model."  # PEFT puts it before the base's own module names
MAGNITUDE = "lora_magnitude_vector"  # DoRA's tensor of a module
_OFF = {  # keys that change what the weights mean, and the only values under which they do not
    "bias": ("none",),
    "use_dora": (False,),
    "lora_bias": (False,),
    "use_qalora": (False,),
    "use_bdlora": (None,),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "monteclora_config": (None,),
    "kasa_config": (None,),
    "velora_config": (None,),
}


class UnsupportedAdapter(ValueError):
    """An adapter that we cannot apply exactly; the message names what stands in the way."""


@dataclass(frozen=True)
class Factors:
    """One module's update: scaling * b @ a, with a [r, in] and b [out, r].

    With a magnitude [out] (DoRA) the module's matrix is its sum with that, each row scaled to this length.
    """

    a: torch.Tensor
    b: torch.Tensor
    scaling: float
    magnitude: torch.Tensor | None = None


@dataclass(frozen=True)
class AdapterWeights:
    """An adapter as matrices, by the base's own module names."""

    modules: Mapping[str, Factors]

    @property
    def rank(self) -> int:
        """The largest rank of its modules."""
        return max((factors.a.shape[0] for factors in self.modules.values()), default=0)

    @property
    def bytes(self) -> int:
        """What its matrices hold in memory."""
        return sum(factors.a.nbytes + factors.b.nbytes for factors in self.modules.values())


def read(folder: Path) -> AdapterWeights:
    """Read a PEFT LoRA folder. Raises UnsupportedAdapter for anything but plain LoRA in safetensors."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = tensors_in(folder)
    except FileNotFoundError as error:
        raise UnsupportedAdapter(
            f"{folder} needs {CONFIG_FILE} and {WEIGHTS_FILE} (pickled weights are not read)"
        ) from error
    except (ValueError, SafetensorError) as error:
        raise UnsupportedAdapter(f"{folder} cannot be read: {error}") from error
    check(config, str(folder))
    return from_tensors(config, tensors, str(folder))


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    """An adapter's tensors by their names, those of 8 bits as what PEFT makes of them. Raises what reading comes to."""
    tensors = load_file(folder / WEIGHTS_FILE)
    return {name: one.float() if one.dtype.itemsize == 1 else one for name, one in tensors.items()}


def check_start(config: Mapping[str, object], where: str, repeats: bool = False) -> None:
    """Raise UnsupportedAdapter for a start that has changed the base's weights: the adapter belongs to that base alone.

    Every way of putting an adapter on a base asks this, in every precision. A start that passes decides nothing more:
    the folder's weights replace what it has made. Who `repeats` the start, so that the base is changed again, may do
    so with those that come to the same.
    """
    start = config.get("init_lora_weights", True)
    if start not in HARMLESS_STARTS and not (repeats and start in REPEATABLE_STARTS):
        raise UnsupportedAdapter(
            f"{where}: init_lora_weights={start!r} changes the base model's weights; "
            "save it again with path_initial_model_for_weight_conversion"
        )


def check(config: Mapping[str, object], where: str) -> None:
    """Raise UnsupportedAdapter unless an adapter_config.json describes plain LoRA."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UnsupportedAdapter(f"{where}: peft_type is {kind}; only LORA can share a batch")
    for key, harmless in _OFF.items():
        if key in config and config[key] not in harmless:
            raise UnsupportedAdapter(f"{where}: {key} is {config[key]!r}, which plain LoRA does not have")
    check_start(config, where)
    check_numbers(config, where)


def check_numbers(config: Mapping[str, object], where: str) -> None:
    """Raise UnsupportedAdapter unless ranks are whole numbers from 1 on and alphas are numbers, of LoRA's kinds."""
    for key, kinds, pattern in (("r", (int,), "rank_pattern"), ("lora_alpha", (int, float), "alpha_pattern")):
        patterns = config.get(pattern) or {}
        if not isinstance(patterns, Mapping):
            raise UnsupportedAdapter(f"{where}: {pattern} is {patterns!r:.60}, not a mapping of names to numbers")
        for name, value in ((key, config.get(key)), *patterns.items()):
            number = isinstance(value, kinds) and not isinstance(value, bool)
            if not (number and abs(value) <= LARGEST) or (key == "r" and value < 1):
                wanted = "a whole number from 1 on" if key == "r" else "a number"
                raise UnsupportedAdapter(f"{where}: {name} is {value!r:.60}, not {wanted}")


def from_tensors(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], where: str) -> AdapterWeights:
    """The matrices of a LoRA file, named as PEFT names them. Raises UnsupportedAdapter for a tensor that is none."""
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        module, dot, rest = name.removeprefix(PREFIX).rpartition(".lora_")
        if not name.startswith(PREFIX):
            raise UnsupportedAdapter(f"{where}: {name} does not begin with {PREFIX}: PEFT would leave it out")
        if not dot or rest not in ("A.weight", "B.weight") or tensor.dim() != 2:
            raise UnsupportedAdapter(f"{where}: {name} is no LoRA matrix of a linear module")
        halves.setdefault(module, {})[rest[0]] = tensor
    modules = {}
    for module, half in halves.items():
        if half.keys() != {"A", "B"} or half["A"].shape[0] != half["B"].shape[1]:
            raise UnsupportedAdapter(f"{where}: {module} lacks one of lora_A and lora_B, or their ranks differ")
        modules[module] = Factors(half["A"], half["B"], _scaling_of(config, module))
    return AdapterWeights(modules)


def scaling(alpha: float, rank: int, rslora: bool) -> float:
    """What B A x is multiplied by: alpha / r, or alpha / sqrt(r) with rsLoRA (Kalajdzievski 2023)."""
    return float(alpha / math.sqrt(rank) if rslora else alpha / rank)


def _scaling_of(config: Mapping[str, Any], module: str) -> float:
    """PEFT's scaling of a module; the patterns name exceptions."""
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    rank = ranks.get(get_pattern_key(list(ranks), module), config["r"])
    alpha = alphas.get(get_pattern_key(list(alphas), module), config["lora_alpha"])
    return scaling(alpha, rank, bool(config.get("use_rslora")))
