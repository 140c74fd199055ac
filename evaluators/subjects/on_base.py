"""The base model, loaded once, and the adapters that are put on it one after the other.

Invariant: when an adapter is taken off, the base is what it was, bit for bit. Its weights are never written to. In
float32, where the sum is exact enough (1e-6), an adapter is merged into copies of the matrices it changes, which saves
its own matrix products at every batch; in half precision it runs beside the frozen matrices as PEFT defines it.
Plain LoRA is merged from its matrices; whatever else PEFT knows is left to PEFT's own modules, a second or so slower.
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
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapters.base import load_model
from adapters.folder import AdapterWeights, UnsupportedAdapter, check_start
from adapters.onednn import use_onednn
from adapters.plain import plain_lora
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
def adapter_on(base: PreTrainedModel, folder: Path) -> Iterator[None]:
    """Within, `base` computes what it computes with the adapter of a PEFT folder, or with the weights of a whole model.

    Raises AdapterError.
    """
    if (folder / "config.json").is_file():
        with _weights_on(base, folder):
            yield
        return
    plain = plain_lora(folder, base) if base.dtype == torch.float32 else None
    with _with_peft(base, folder) if plain is None else merged(base, plain):
        yield


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


@contextmanager
def _with_peft(base: PreTrainedModel, folder: Path) -> Iterator[None]:
    """The adapter as PEFT's own modules, merged where they can be."""
    config = _read_config(folder)
    wrapped = _wrap(base, config)
    try:
        _load_weights(wrapped, folder)
        wrapped.eval()
        originals = _merge(wrapped, base)
        try:
            yield
        finally:
            for layer, weight in originals:
                layer.get_base_layer().weight.data = weight
                layer.merged_adapters.clear()
    finally:
        wrapped.unload()


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
        check_start(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")), str(folder))
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


def _wrap(base: PreTrainedModel, config: peft.PeftConfig) -> peft.PeftModel:
    """Put the adapter's empty modules on the base."""
    try:
        return peft.PeftModel(base, config)
    except ValueError as error:  # the modules it names are not in this model
        raise AdapterError(f"the adapter does not fit the model: {error}") from error


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


def _merge(wrapped: peft.PeftModel, base: PreTrainedModel) -> list[tuple[BaseTunerLayer, torch.Tensor]]:
    """Merge into copies. Returns the layers with their own weights: none where the adapter runs beside the base."""
    layers = [module for module in base.modules() if isinstance(module, BaseTunerLayer)]
    if base.dtype != torch.float32 or not all(_can_merge(layer, base) for layer in layers):
        return []
    if any(isinstance(module, peft.utils.ModulesToSaveWrapper) for module in base.modules()):
        return []
    originals: list[tuple[BaseTunerLayer, torch.Tensor]] = [
        (layer, cast(nn.Linear, layer.get_base_layer()).weight.data) for layer in layers
    ]
    wrapped.merge_adapter(safe_merge=True)
    return originals


def _can_merge(layer: BaseTunerLayer, base: PreTrainedModel) -> bool:
    """A LoRA on a matrix that no other module shares (embedding and tied head do) and that leaves the bias alone."""
    if type(layer) is not lora.Linear or any(layer.lora_bias.values()):
        return False
    shared = {id(base.get_input_embeddings().weight), id(base.get_output_embeddings().weight)}
    return id(layer.get_base_layer().weight) not in shared
