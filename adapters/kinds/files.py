"""The files of an adapter in PEFT's format: equal ones give equal bytes, without pickle or a path of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save, save_file

from study.models.resolve import Model
from study.scratch import os_errors
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE

_METADATA = {"format": "pt"}


def write_files(folder: Path, config: Mapping[str, object], model: Model, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors by their names in a PEFT file, and PEFT's configuration as it is to be read."""
    folder.mkdir(parents=True, exist_ok=True)
    with os_errors():
        save_file(dict(tensors), folder / WEIGHTS_FILE, metadata=_METADATA)
    (folder / CONFIG_FILE).write_bytes(_stated(config, model))


def contents(config: Mapping[str, object], model: Model, tensors: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    """Make the same files in memory, by their names."""
    return {WEIGHTS_FILE: save(dict(tensors), metadata=_METADATA), CONFIG_FILE: _stated(config, model)}


def _stated(config: Mapping[str, object], model: Model) -> bytes:
    """PEFT's configuration as text.

    PEFT wants the base's name: it is a hub model's id and revision, or a local model's name. A local folder's path is
    left out, for it means nothing on another machine, and `PeftModel.from_pretrained(base, folder)` does not use it.
    """
    fields = {
        **config,
        "inference_mode": True,
        "base_model_name_or_path": model.name if model.revision is None else model.path,
        "revision": model.revision,
    }
    stated = {key: sorted(value) if isinstance(value, set) else value for key, value in fields.items()}
    return (json.dumps(stated, indent=2, sort_keys=True) + "\n").encode()
