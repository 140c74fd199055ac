"""The base model, loaded once, and the adapters that are put on it one after the other.

Invariant: when an adapter is taken off, the base is what it was, bit for bit. Its weights are never written to. In
float32, where the sum is exact enough (1e-6), an adapter is merged into copies of the matrices it changes, which saves
its own matrix products at every batch; in half precision it runs beside the frozen matrices as PEFT defines it.
Plain LoRA is merged from its matrices; whatever else PEFT knows is left to PEFT's own modules, a second or so slower,
and on a skeleton of the base: PEFT does not take everything out again that it puts into a model.
A model that was fine-tuned as a whole takes the place of the base's weights meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import peft
import safetensors
import torch
from peft.tuners import lora
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapters.base import load_model
from adapters.folder import AdapterWeights, UnsupportedAdapter, check_numbers, check_start
from adapters.onednn import use_onednn
from adapters.plain import plain_lora
from adapters.skeleton import skeleton
from study.models.resolve import Model
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE


class AdapterError(Exception):
    """An adapter that cannot be read, or that this engine does not score exactly."""


def load_base(model: Model) -> PreTrainedModel:
    """The base model on the GPU where there is one, ready to be read."""
    base = load_model(model)
    base.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]  # behind a decorator that hides its arguments
    base.eval().requires_grad_(False)
    use_onednn(base)
    return base


@contextmanager
def adapter_on(base: PreTrainedModel, folder: Path, read_elsewhere: Collection[str] = ()) -> Iterator[PreTrainedModel]:
    """Gives the model that computes with the adapter of a PEFT folder, or with the weights of a whole model.

    It is the base itself, which is changed within, or one over its weights. Into modules that are `read_elsewhere` (by
    others than their own forward) nothing is merged: PEFT's product beside such a one has no part in that reading.
    Raises AdapterError.
    """
    if (folder / "config.json").is_file():
        with _weights_on(base, folder):
            yield base
        return
    plain = plain_lora(folder, base) if base.dtype == torch.float32 else None
    if plain is None or not plain.modules.keys().isdisjoint(read_elsewhere):
        yield _by_peft(base, folder, read_elsewhere)
        return
    with merged(base, plain):
        yield base


@contextmanager
def merged(base: PreTrainedModel, adapter: AdapterWeights) -> Iterator[None]:
    """Within, the base's matrices are replaced by copies that hold the adapter: W + scaling * B A."""
    originals: dict[nn.Linear | Conv1D, torch.Tensor] = {}
    try:
        for name, factors in adapter.modules.items():
            module = base.get_submodule(name)
            assert isinstance(module, nn.Linear | Conv1D)
            weight = originals[module] = module.weight.data
            left, right = factors.b.to(weight), factors.a.to(weight)
            if isinstance(module, Conv1D):  # keeps its matrix transposed
                left, right = right.T, left.T
            module.weight.data = torch.addmm(weight, left, right, alpha=factors.scaling)
        yield
    finally:
        for module, weight in originals.items():
            module.weight.data = weight


def _by_peft(base: PreTrainedModel, folder: Path, read_elsewhere: Collection[str]) -> PreTrainedModel:
    """A skeleton of the base with the adapter as PEFT's own modules, merged where they can be. Raises AdapterError."""
    config = _read_config(folder)
    try:
        model = skeleton(base, _written_to(base, config))
        wrapped = peft.PeftModel(model, config)
        _load_weights(wrapped, folder)
        wrapped.eval()
        _merge(wrapped, model, read_elsewhere)
        with torch.inference_mode():
            model(input_ids=torch.zeros(1, 2, dtype=torch.long, device=base.device), use_cache=False)
    except (AdapterError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # PEFT does what the folder's config says: anything can be raised
        reason = " ".join(str(error).split())[:300]
        raise AdapterError(f"{config.peft_type}: PEFT cannot run it on this model: {reason}") from error
    return model


def _written_to(base: PreTrainedModel, config: peft.PeftConfig) -> set[str]:
    """Weights of the base that PEFT writes an adapter's own values into: a skeleton needs copies of these."""
    trains_biases = getattr(config, "bias", "none") not in ("none", None)
    return {name for name, _ in base.named_parameters() if trains_biases and name.endswith("bias")}


@contextmanager
def _weights_on(base: PreTrainedModel, folder: Path) -> Iterator[None]:
    """Within, `base` has the weights of a model of its own kind; its own stay in memory and are put back."""
    try:
        other, found = _read_as(base, folder)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise AdapterError(f"{folder}: its weights cannot be read: {error}") from error
    wrong = [name for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in found[kind]]
    if wrong:
        raise AdapterError(f"{folder}: its weights do not fit the model: {sorted(map(str, wrong))[0]}")
    originals = [(weight, weight.data) for weight in base.parameters()]
    for name, new in other.named_parameters():
        if not torch.isfinite(new).all():
            raise AdapterError(f"{folder}: {name} holds values that are not finite")
    try:
        for (weight, _), new in zip(originals, other.parameters(), strict=True):
            weight.data = new.data.to(weight.device)
        yield
    finally:
        for weight, data in originals:
            weight.data = data


def _read_as(base: PreTrainedModel, folder: Path) -> tuple[PreTrainedModel, Mapping[str, Collection[str]]]:
    """A model of the base's class and config from a folder, and which weights trouble transformers, by kind."""
    loaded: object = type(base).from_pretrained(
        folder, config=base.config, dtype=base.dtype, use_safetensors=True, output_loading_info=True
    )
    return cast(tuple[PreTrainedModel, Mapping[str, Collection[str]]], loaded)


def _read_config(folder: Path) -> peft.PeftConfig:
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise AdapterError(f"{folder} needs {CONFIG_FILE} and {WEIGHTS_FILE} (pickled weights are not read)")
    try:
        said = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        check_start(said, str(folder))
        if said.get("peft_type") == "LORA":
            check_numbers(said, str(folder))
        config = peft.PeftConfig.from_pretrained(str(folder))
    except UnsupportedAdapter as error:
        raise AdapterError(str(error)) from error
    except (ValueError, TypeError, KeyError) as error:
        raise AdapterError(f"{folder}: {CONFIG_FILE} cannot be read: {error}") from error
    if config.is_prompt_learning:
        raise AdapterError(f"{folder}: {config.peft_type} adapters change the prompt and are not supported; use LoRA")
    if getattr(config, "alora_invocation_tokens", None):
        raise AdapterError(f"{folder}: activated LoRA depends on the text it stands in and is not supported; use LoRA")
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True  # the quickest start: the folder's weights replace it
    config.inference_mode = True
    return config


def _load_weights(wrapped: peft.PeftModel, folder: Path) -> None:
    """Fill the adapter's modules: every one of its tensors, and nothing of the base."""
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except safetensors.SafetensorError as error:
        raise AdapterError(f"{folder}: {WEIGHTS_FILE} cannot be read: {error}") from error
    wanted = get_peft_model_state_dict(wrapped, save_embedding_layers=False).keys()
    base = wrapped.state_dict()
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise AdapterError(f"{folder}: {name} holds values that are not finite")
        if name not in wanted and not (name in base and torch.equal(base[name].cpu(), value.to(base[name].dtype))):
            raise AdapterError(f"{folder}: {name} is no part of the adapter that {CONFIG_FILE} describes")
    missing = wanted - weights.keys()
    if missing:
        raise AdapterError(f"{folder}: {WEIGHTS_FILE} lacks {min(missing)}, which {CONFIG_FILE} asks for")
    try:
        set_peft_model_state_dict(wrapped, {name: weights[name] for name in wanted})
    except RuntimeError as error:  # shapes that differ
        raise AdapterError(f"{folder}: its weights do not fit the model: {error}") from error


def _merge(wrapped: peft.PeftModel, model: PreTrainedModel, read_elsewhere: Collection[str]) -> None:
    """Merge into copies of the matrices, in float32 and where every part of the adapter can be."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    if model.dtype != torch.float32 or any(isinstance(part, AuxiliaryTrainingWrapper) for part in model.modules()):
        return
    if layers and layers.keys().isdisjoint(read_elsewhere) and all(_can_merge(layer) for layer in layers.values()):
        wrapped.merge_adapter(safe_merge=True)


def _can_merge(layer: BaseTunerLayer) -> bool:
    """A LoRA on a matrix that leaves the bias alone."""
    return type(layer) is lora.Linear and not any(layer.lora_bias.values())
