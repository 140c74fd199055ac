"""The files of an adapter in PEFT's format: equal ones give equal bytes, without pickle or a path of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from study.models.resolve import Model
from study.scratch import os_errors
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE


def write_files(folder: Path, config: Mapping[str, object], model: Model, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors by their names in a PEFT file, and PEFT's configuration as it is to be read.

    PEFT wants the base's name: it is a hub model's id and revision, or a local model's name. A local folder's path is
    left out, for it means nothing on another machine, and `PeftModel.from_pretrained(base, folder)` does not use it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with os_errors():
        save_file(dict(tensors), folder / WEIGHTS_FILE, metadata={"format": "pt"})
    fields = {
        **config,
        "inference_mode": True,
        "base_model_name_or_path": model.name if model.revision is None else model.path,
        "revision": model.revision,
    }
    stated = {key: sorted(value) if isinstance(value, set) else value for key, value in fields.items()}
    (folder / CONFIG_FILE).write_text(json.dumps(stated, indent=2, sort_keys=True) + "\n", encoding="utf-8")
