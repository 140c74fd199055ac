"""What a config asks of models' classes, without their weights: how they compute attention, that they can be split."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from study.config import StudyConfig
from study.config.fields import on_gpu
from study.errors import ConfigError
from study.models.resolve import Model

_FLASH = "flash_attention_2"


def check_classes(config: StudyConfig, models: Sequence[Model]) -> None:
    """Raise ConfigError for attention that a model has not, or that does not run where the study does.

    And for one that cannot be split over the GPUs that an evaluator has.
    """
    for i, model in enumerate(models):
        if config.evaluators.gpus > 1:
            from adapters.base.loading import check_split

            check_split(model, config.evaluators.gpus)
        if model.attention is not None:
            key = f"models[{i}].attn_implementation"
            if model.attention == _FLASH:
                _check_flash(config, model, key)
            _check_class(model, key)


def _check_flash(config: StudyConfig, model: Model, key: str) -> None:
    if config.training.packing:
        problem = f"{key} is {_FLASH}, which knows the texts of a row apart only where a pass has no other row"
        raise ConfigError("training.packing", True, problem, "set it to false, or use sdpa")
    asked = {
        "training.resources_per_worker": config.training.resources_per_worker,
        "evaluators.resources": config.evaluators.resources,
    }
    if without := next((name for name, resources in asked.items() if not on_gpu(resources)), None):
        raise ConfigError(key, _FLASH, f"runs on GPUs alone, and {without} asks for none", "ask for one, or use sdpa")
    if model.dtype == "float32":
        fix = "set dtype to bfloat16, or use sdpa"
        raise ConfigError(key, _FLASH, f"computes in half precision, and {model.name} is in float32", fix)
    if not _is_installed("flash-attn"):
        fix = "install flash-attn here and on all nodes, or use sdpa: on a GPU torch has such a kernel, too"
        raise ConfigError(key, _FLASH, "the library flash-attn is not installed", fix)


def _is_installed(name: str) -> bool:
    """By the name of what is installed: version 4 of that library has a name of its own, and the same modules."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _check_class(model: Model, key: str) -> None:
    from adapters.base.loading import shell_of

    shell = shell_of(model)
    name, problem = type(shell).__name__, ""
    has = {"eager": True, "sdpa": shell._supports_sdpa, _FLASH: shell._supports_flash_attn}
    if model.attention is not None and not has[model.attention]:
        problem = f"{name} has no such attention in transformers"
    elif model.attention == _FLASH and not (shell._supports_sdpa and shell._can_set_attn_implementation()):
        lack = "cannot be switched to it" if shell._supports_sdpa else "has not got it"
        problem = f"prompts that are shared need sdpa beside it, and {name} {lack}"
    if problem:
        raise ConfigError(key, model.attention, problem, "leave it out: it takes the best that it has")
