"""One LoRA adapter on a base model, in PEFT's terms: put on, initialised, written, taken off.

Invariants: initial weights are a function of (seed, adapter_id, module name) alone, whatever else is trained in the
process or in the gang; a written folder loads in PEFT and vLLM as it is, holds no pickle and no path of this machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

from study.config import Lora
from study.identity import digest
from study.models import Model

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_ADAPTER = "default"  # PEFT's name for the only adapter of a model


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


def attach(base: Any, lora: Lora, adapter_id: str, seed: int) -> PeftModel:
    """Put a fresh adapter on a frozen base, in place. `detach` undoes it."""
    peft_model = get_peft_model(base, lora_config(lora))
    assert isinstance(peft_model, PeftModel)
    for name, parameter in parameters(peft_model).items():
        with torch.no_grad():
            parameter.copy_(initial_weight(adapter_id, seed, name, tuple(parameter.shape)))
    return peft_model


def detach(peft_model: PeftModel) -> None:
    """Take the adapter off: the base has the modules and the weights it had."""
    peft_model.unload()  # forwarded to the tuner by __getattr__


def initial_weight(adapter_id: str, seed: int, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """PEFT's default start: B zero, A uniform in ±1/sqrt(in) (Kaiming with a = sqrt(5)), float32 on the CPU.

    `shape` is (r, in) for A and (out, r) for B; `name` is the parameter's name in the PEFT file.
    """
    if ".lora_A." not in name:
        return torch.zeros(shape)
    generator = torch.Generator().manual_seed(int(digest({"init": adapter_id, "seed": seed, "name": name}), 16))
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def parameters(peft_model: PeftModel) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters under the names they have in a PEFT file."""
    return {
        name.replace(f".{_ADAPTER}.", "."): parameter
        for name, parameter in peft_model.named_parameters()
        if parameter.requires_grad
    }


def write(folder: Path, lora: Lora, model: Model, weights: Mapping[str, torch.Tensor]) -> None:
    """Write an adapter folder; equal weights give equal bytes.

    PEFT wants the base's name: it is a hub model's id and revision, or a local model's name. A local folder's path is
    left out, for it means nothing on another machine, and `PeftModel.from_pretrained(base, folder)` does not use it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: weights[name].contiguous() for name in sorted(weights)}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    fields = {
        **lora_config(lora).to_dict(),  # type: ignore[no-untyped-call]
        "target_modules": sorted({name.rsplit(".lora_", 1)[0].rsplit(".", 1)[-1] for name in weights}),
        "inference_mode": True,
        "base_model_name_or_path": model.name if model.revision is None else model.path,
        "revision": model.revision,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
