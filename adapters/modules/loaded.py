"""An adapter folder as PEFT's own modules, on a skeleton of a base: what PEFT, and so lm-eval, would compute.

Invariants: every tensor of the folder has found its place and every place its tensor, else the folder is refused; and
the base's own numbers are never written to. An adapter that is a prompt of trained vectors (prompt, prefix and P-tuning
among others) is run by PEFT's own forward, which puts these before each text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import peft
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from adapters.base.loading import embedded
from adapters.base.onednn import use_onednn, without_onednn
from adapters.base.skeleton import skeleton
from adapters.folders.folder import PREFIX, UnsupportedAdapter, check_numbers, check_start, tensors_in
from adapters.folders.targeting import by_peft
from adapters.modules.vocabulary import lacking, own_rows, resize
from adapters.quantising.weights import rounds_inputs
from study.models.peft_config import PROMPTS, REPEATABLE_STARTS
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE

VECTORS = "prompt_embeddings"  # the one tensor of an adapter that is a prompt
_SHARED = ("vblora_vector_bank", "prompt_encoder", ".tinylora_v.", ".unilora_theta_d.")  # one tensor of many names


def peft_model(base: PreTrainedModel, folder: Path) -> peft.PeftModel:
    """A skeleton of the base with the folder's adapter on it. Raises UnsupportedAdapter with the reason."""
    config = config_in(folder)
    if getattr(config, "use_dora", False) and base.device.type == "cpu" and rounds_inputs(base):
        raise UnsupportedAdapter("PEFT does not compute DoRA beside int8 weights on a CPU")
    tensors, rows = _tensors(folder, config), own_rows(folder, base)
    try:
        model = skeleton(base, _written_to(base, config, tensors))
        without_onednn(model)
        if rows is not None:
            resize(model, rows)
        kind = peft.MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(str(config.task_type), peft.PeftModel)
        wrapped: peft.PeftModel = kind(model, config)
        mapping = getattr(model, "_checkpoint_conversion_mapping", None) or None
        found = wrapped.load_adapter(
            str(folder), "default", torch_device=str(base.device), key_mapping=mapping, low_cpu_mem_usage=False
        )
        use_onednn(model)
        lacks = None if rows is None else lacking(runs(wrapped), embedded(base), rows)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # PEFT does what the folder's config says: anything can be raised
        raise UnsupportedAdapter(f"PEFT cannot put it on this model: {one_line(error)}") from error
    if unexpected := [name for name in found.unexpected_keys if not _stands_twice(name, tensors)]:
        reason = f"{min(unexpected)} is no part of the adapter that {CONFIG_FILE} describes"
        raise UnsupportedAdapter(f"{WEIGHTS_FILE}: {reason}")
    if lacks is not None:
        raise UnsupportedAdapter(f"{WEIGHTS_FILE} holds no rows of the {lacks} for the tokens that were added")
    missing = [name for name in found.missing_keys if not any(part in name for part in _SHARED)]
    if missing:
        raise UnsupportedAdapter(f"{WEIGHTS_FILE} lacks {min(missing)}, which {CONFIG_FILE} asks for")
    return wrapped


def runs(wrapped: peft.PeftModel) -> PreTrainedModel:
    """What is to be run: the base with PEFT's modules in it, or PEFT around it where vectors stand before a text."""
    model = wrapped if wrapped.active_peft_config.is_prompt_learning else wrapped.get_base_model()
    return cast(PreTrainedModel, model)


def virtual_tokens(folder: Path) -> int:
    """How many vectors of its own an adapter puts before each text. What is wrong with its config, loading says."""
    try:
        said = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        number = said.get("num_virtual_tokens") if said.get("peft_type") in PROMPTS else 0
    except (OSError, ValueError, AttributeError):
        return 0
    return max(0, number) if isinstance(number, int) else 0


def one_line(error: Exception) -> str:
    """What an error says, short and in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def config_in(folder: Path) -> peft.PeftConfig:
    """PEFT's own reading of an adapter's configuration. Raises UnsupportedAdapter for one that it does not take."""
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
    if config.is_prompt_learning and config.task_type != peft.TaskType.CAUSAL_LM:
        raise UnsupportedAdapter(f"its task_type is {config.task_type}, not CAUSAL_LM: PEFT would leave its prompt out")
    if config.peft_type == peft.PeftType.XLORA:
        raise UnsupportedAdapter("XLORA mixes other adapters, which are no part of its folder; use one of them")
    if getattr(config, "alora_invocation_tokens", None):
        raise UnsupportedAdapter("activated LoRA depends on the text it stands in and is not supported; use LoRA")
    if getattr(config, "init_lora_weights", None) not in REPEATABLE_STARTS and hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True  # the quickest start: the folder's weights replace it
    if hasattr(config, "lora_dropout"):
        config.lora_dropout = 0.0  # nothing is trained; PEFT refuses any where one parameter holds several experts
    config.inference_mode = True
    return config


def _tensors(folder: Path, config: peft.PeftConfig) -> Mapping[str, torch.Tensor]:
    """The folder's tensors on the CPU. Raises UnsupportedAdapter where they cannot be read, or are not finite."""
    try:
        tensors = tensors_in(folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise UnsupportedAdapter(f"its weights cannot be read: {one_line(error)}") from error
    if config.is_prompt_learning and tensors.keys() != {VECTORS}:
        raise UnsupportedAdapter(f"{WEIGHTS_FILE} holds {min(tensors, default='nothing')}, and not {VECTORS} alone")
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise UnsupportedAdapter(f"{name} holds values that are not finite")
        if name != VECTORS and not name.startswith(PREFIX[: PREFIX.index(".") + 1]):
            raise UnsupportedAdapter(f"{name} does not begin with {PREFIX}: PEFT would leave it out")
    return tensors


def _stands_twice(name: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether PEFT takes a tensor by another way, or has written an embedding or a head by two names."""
    if name == VECTORS:
        return True
    other = name.replace(".modules_to_save.", ".")
    return name != other and {name, other} <= tensors.keys() and torch.equal(tensors[name], tensors[other])


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
