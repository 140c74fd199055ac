"""The base model, loaded once, and the adapters that are put on it one after the other.

Invariant: when an adapter is taken off, the base is what it was, bit for bit. Its weights are never written to. In
float32, where the sum is exact enough (1e-6), an adapter is merged into copies of the matrices it changes, which saves
its own matrix products at every batch; in half precision, and where the matrices are quantised, it runs beside them as
PEFT defines it.
Plain LoRA is merged from its matrices; whatever else PEFT knows is left to PEFT's own modules, a second or so slower,
and on a skeleton of the base: PEFT does not take everything out again that it puts into a model.
A model that was fine-tuned as a whole takes the place of the base's weights meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import safetensors
import torch
from peft.tuners import lora
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapters.base.loading import embedded, load_model
from adapters.base.onednn import use_onednn
from adapters.folders.folder import AdapterWeights, UnsupportedAdapter
from adapters.modules.loaded import one_line, peft_model, runs
from adapters.modules.plain import Plain
from adapters.quantising.weights import any_quantised
from evaluators.subjects.touchstone import Touchstone
from study.models.resolve import Model
from study.pulse import loading


class AdapterError(Exception):
    """An adapter that cannot be read, or that this engine does not score exactly."""


def load_base(model: Model, gpus: int = 1) -> PreTrainedModel:
    """The base model on the GPU where there is one, or split over so many of them, ready to be read."""
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices = [torch.device("cuda", torch.cuda.current_device() + number) for number in range(gpus)]
    base = load_model(model, *devices)
    if len(devices) == 1:
        base.to(devices[0])  # type: ignore[arg-type]  # behind a decorator that hides its arguments
    base.eval().requires_grad_(False)
    use_onednn(base)
    return base


@contextmanager
def adapter_on(
    base: PreTrainedModel, folder: Path, known: Touchstone, read: Plain | None = None
) -> Iterator[PreTrainedModel]:
    """Gives the model that computes with the adapter of a PEFT folder, or with the weights of a whole model.

    It is the base itself, which is changed within, or one over its weights. Nothing is merged where that would say
    other than PEFT's product beside the matrices. `read` may have read the folder. Raises AdapterError.
    """
    if (folder / "config.json").is_file():
        with _weights_on(base, folder):
            yield base
        return
    plain = (read or Plain(base))(folder) if base.dtype == torch.float32 else None
    if plain is None or any_quantised(base, plain.modules) or not known.holds(merged, plain, folder):
        yield _by_peft(base, folder, known)
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
        for module, weight in reversed(originals.items()):  # a matrix that two modules share was replaced twice
            module.weight.data = weight


def _by_peft(base: PreTrainedModel, folder: Path, known: Touchstone) -> PreTrainedModel:
    """A skeleton of the base with the adapter as PEFT's own modules, merged where they can be. Raises AdapterError."""
    try:
        wrapped = peft_model(base, folder)
        model = runs(wrapped)
        if not known.settle(wrapped, _mergeable(model) and embedded(model) == embedded(base)):
            model = runs(peft_model(base, folder))
    except (UnsupportedAdapter, ValueError) as error:  # PEFT raises the latter where a merged matrix is not finite
        raise AdapterError(one_line(error)) from error
    return model


def _mergeable(model: PreTrainedModel) -> bool:
    """Whether every part of an adapter can be merged exactly enough: LoRA on matrices, their biases left alone."""
    parts = list(model.modules())
    layers = [part for part in parts if isinstance(part, BaseTunerLayer)]
    if model.dtype != torch.float32 or any(isinstance(part, AuxiliaryTrainingWrapper) for part in parts):
        return False
    return bool(layers) and all(type(one) is lora.Linear and not any(one.lora_bias.values()) for one in layers)


@contextmanager
def _weights_on(base: PreTrainedModel, folder: Path) -> Iterator[None]:
    """Within, `base` has the weights of a model of its own kind; its own stay in memory and are put back."""
    try:
        with loading():
            other, found = _read_as(base, folder)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise AdapterError(f"its weights cannot be read: {error}") from error
    wrong = [name for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in found[kind]]
    if wrong:
        raise AdapterError(f"its weights do not fit the model: {sorted(map(str, wrong))[0]}")
    originals = [(weight, weight.data) for weight in base.parameters()]
    for name, new in other.named_parameters():
        if not torch.isfinite(new).all():
            raise AdapterError(f"{name} holds values that are not finite")
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
