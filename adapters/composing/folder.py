"""The files of a composed adapter: plain LoRA, which PEFT and everything that reads it loads as it is.

Invariant: equal inputs give equal bytes, and no path of this machine is in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PreTrainedModel

from adapters.composing.composed import Composed
from adapters.kinds.files import contents, write_files
from adapters.kinds.lora_weights import named, told
from study.models.resolve import Model
from study.scratch import os_errors


def write(folder: Path, composed: Composed, model: Model, base: PreTrainedModel) -> None:
    """Write them into a folder, with no copy of the matrices in memory."""
    config, tensors = _parts(composed, base)
    write_files(folder, config, model, tensors)


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with os_errors():
        for name, data in files.items():
            (folder / name).write_bytes(data)


def files_of(composed: Composed, model: Model, base: PreTrainedModel) -> dict[str, bytes]:
    """Make the same files in memory, by their names."""
    config, tensors = _parts(composed, base)
    return contents(config, model, tensors)


def _parts(composed: Composed, base: PreTrainedModel) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    """The configuration and the matrices.

    Modules of another rank than most are named in patterns; alpha is the rank, so that scaling is 1.
    """
    ranks = {name: len(factors.a) for name, factors in sorted(composed.weights.modules.items())}
    most = max(Counter(ranks.values()).items(), key=lambda item: (item[1], item[0]))[0]
    others = {f"^{name}": rank for name, rank in ranks.items() if rank != most}
    config = LoraConfig(
        r=most,
        lora_alpha=most,
        rank_pattern=others,
        alpha_pattern=dict(others),
        target_modules=list(ranks),
        use_rslora=False,
        bias="none",
        task_type="CAUSAL_LM",
    )
    tensors = named(composed.weights)
    return told(config, base, tensors), tensors
