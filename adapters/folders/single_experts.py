"""Adapters of single experts, as older libraries had them, on a model that holds all experts of a layer in one.

PEFT puts such tensors together by itself, but asks for them only on some types of models. Invariant: nothing but what
is asked for changes here, in the words in which PEFT asks it of the other types; it still has to find each tensor's
place.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft.utils.transformers_weight_conversion import _MODEL_TO_CONVERSION_PATTERN as ASKED_BY_PEFT
from transformers import PreTrainedModel

from adapters.folders.folder import PREFIX
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE
from study.store.safetensors_header import header_in

_SINGLE = re.compile(r"\.experts\.\d+\.(\w+)$")
_FUSED = {"gate_up_proj": {"gate_proj", "up_proj"}, "down_proj": {"down_proj"}}  # parameters, of which matrices


def asking_for_fused(base: PreTrainedModel, folder: Path, scratch: Path) -> Path:
    """An adapter's folder; a copy below `scratch` whose config asks for fused experts where PEFT would not."""
    try:
        stated, config = header_in(folder / WEIGHTS_FILE).shapes, json.loads((folder / CONFIG_FILE).read_bytes())
    except (OSError, ValueError):  # loading says what is wrong
        return folder
    told = _told(base, stated, config)
    if told is None:
        return folder
    copy = scratch / "fused" / folder.name
    shutil.copytree(folder, copy)
    (copy / CONFIG_FILE).write_text(json.dumps(told), encoding="utf-8")
    return copy


def _told(base: PreTrainedModel, stated: Mapping[str, object], config: Any) -> dict[str, Any] | None:
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        return None
    if base.config.model_type in ASKED_BY_PEFT or config.get("rank_pattern") or config.get("alpha_pattern"):
        return None
    modules = {name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in stated if ".lora_" in name}
    single = {name: found[1] for name in modules if (found := _SINGLE.search(name))}
    known = {name for name, _ in base.named_modules()}
    held = {name.rpartition(".")[2] for name, _ in base.named_parameters() if ".experts." in name}
    asked = {fused for fused, parts in _FUSED.items() if parts & set(single.values())}
    if not single or set(single.values()) != set().union(*(_FUSED[fused] for fused in asked)) or not asked <= held:
        return None
    if not modules - single.keys() <= known:
        return None
    twice = {rf".*\.{fused}": len(_FUSED[fused]) for fused in asked if len(_FUSED[fused]) > 1}
    return {
        **config,
        "target_modules": sorted(modules - single.keys()) or None,
        "target_parameters": sorted(f"experts.{fused}" for fused in asked),
        "rank_pattern": {pattern: config["r"] * times for pattern, times in twice.items()},
        "alpha_pattern": {pattern: config["lora_alpha"] * times for pattern, times in twice.items()},
    }
