"""An adapter folder as PEFT's own modules, on a skeleton of a base: what PEFT, and so lm-eval, would compute.

Invariants: every tensor of the folder has found its place and every place its tensor, else the folder is refused; and
the base's own numbers are never written to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from adapters.folder import PREFIX, REPEATABLE_STARTS, UnsupportedAdapter, check_numbers, check_start
from adapters.onednn import use_onednn, without_onednn
from adapters.skeleton import skeleton
from adapters.targeting import by_peft
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE

_SHARED = ("vblora_vector_bank", "prompt_encoder", ".tinylora_v.", ".unilora_theta_d.")  # one tensor of many names


def peft_model(base: PreTrainedModel, folder: Path) -> peft.PeftModel:
    """A skeleton of the base with the folder's adapter on it. Raises UnsupportedAdapter with the reason."""
    config = _config(folder)
    tensors = _tensors(folder)
    try:
        model = skeleton(base, _written_to(base, config, tensors))
        without_onednn(model)
        kind = peft.MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(str(config.task_type), peft.PeftModel)
        wrapped: peft.PeftModel = kind(model, config)
        mapping = getattr(model, "_checkpoint_conversion_mapping", None) or None
        found = wrapped.load_adapter(
            str(folder), "default", torch_device=str(base.device), key_mapping=mapping, low_cpu_mem_usage=False
        )
        use_onednn(model)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # PEFT does what the folder's config says: anything can be raised
        raise UnsupportedAdapter(f"PEFT cannot put it on this model: {one_line(error)}") from error
    if found.unexpected_keys:
        reason = f"{min(found.unexpected_keys)} is no part of the adapter that {CONFIG_FILE} describes"
        raise UnsupportedAdapter(f"{WEIGHTS_FILE}: {reason}")
    missing = [name for name in found.missing_keys if not any(part in name for part in _SHARED)]
    if missing:
        raise UnsupportedAdapter(f"{WEIGHTS_FILE} lacks {min(missing)}, which {CONFIG_FILE} asks for")
    return wrapped


def one_line(error: Exception) -> str:
    """What an error says, short and in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def _config(folder: Path) -> peft.PeftConfig:
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise UnsupportedAdapter(f"it needs {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        said = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        check_start(said, CONFIG_FILE, repeats=True)
        if said.get("peft_type") == "LORA":
            check_numbers(said, CONFIG_FILE)
        config: peft.PeftConfig = peft.PeftConfig.from_pretrained(str(folder))
    except UnsupportedAdapter:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnsupportedAdapter(f"{CONFIG_FILE} cannot be read: {one_line(error)}") from error
    if config.is_prompt_learning:
        kind = str(config.peft_type).rpartition(".")[2]
        raise UnsupportedAdapter(f"{kind} adapters change the prompt and are not supported; use LoRA")
    if config.peft_type == peft.PeftType.XLORA:
        raise UnsupportedAdapter("XLORA mixes other adapters, which are no part of its folder; use one of them")
    if getattr(config, "alora_invocation_tokens", None):
        raise UnsupportedAdapter("activated LoRA depends on the text it stands in and is not supported; use LoRA")
    if getattr(config, "init_lora_weights", None) not in REPEATABLE_STARTS and hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True  # the quickest start: the folder's weights replace it
    config.inference_mode = True
    return config


def _tensors(folder: Path) -> Mapping[str, torch.Tensor]:
    """The folder's tensors on the CPU. Raises UnsupportedAdapter where they cannot be read, or are not finite."""
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, SafetensorError) as error:
        raise UnsupportedAdapter(f"its weights cannot be read: {one_line(error)}") from error
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise UnsupportedAdapter(f"{name} holds values that are not finite")
        if not name.startswith(PREFIX[: PREFIX.index(".") + 1]):
            raise UnsupportedAdapter(f"{name} does not begin with {PREFIX}: PEFT would leave it out")
    return tensors


def _written_to(base: PreTrainedModel, config: peft.PeftConfig, tensors: Mapping[str, torch.Tensor]) -> set[str]:
    """Weights of the base that PEFT writes an adapter's own values into: a skeleton needs copies of these."""
    known = [name for name, _ in (*base.named_parameters(), *base.named_buffers())]
    own = {name for name in known if f"{PREFIX}{name}" in tensors}
    if getattr(config, "bias", "none") not in ("none", None):
        own |= {name for name in known if name.endswith("bias")}
    targets: Any = getattr(config, "target_modules", None)
    if targets and getattr(config, "init_lora_weights", None) in REPEATABLE_STARTS:
        names = targets if isinstance(targets, str) else sorted(targets)
        own |= {f"{name}.weight" for name in by_peft(base, names).modules}
    return own
