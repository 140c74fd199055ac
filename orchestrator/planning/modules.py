"""The modules of a model that a recipe means, as PEFT itself reads names: asked without its weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from adapters.kinds.kind import kind_of
from study.config import Recipe, StudyConfig
from study.config.expansion import learned
from study.config.recipe import Modules
from study.config.recipes import key_of
from study.errors import ConfigError
from study.models.quantised import BYTES
from study.models.resolve import Model
from trainers.settings import zero_stage

if TYPE_CHECKING:
    from adapters.folders.targeting import Targets


def check_kinds(config: StudyConfig, models: Sequence[Model]) -> None:
    """Raise ConfigError for a model that cannot be tuned as a recipe says, as far as that shows without its weights."""
    families = {cell.task for source in learned(config) for cell in source.cells}
    stated = [config.task(family).train.max_length for family in families]
    asked = ((kind_of(one), max(own or one.max_length for own in stated)) for one in config.trained_by.values())
    for tuning, longest in dict.fromkeys(asked) if stated else ():
        for model in models:
            tuning.check_plan(model, longest)
    for model in models if stated else ():
        _check_quantised(config, model)


def _check_quantised(config: StudyConfig, model: Model) -> None:
    """Raise ConfigError where a base's weights are quantised in a way that nothing is trained on, or spread."""
    if model.quantization is None:
        return
    if model.quantization not in BYTES:
        problem = f"its weights are quantised by {model.quantization}, and adapters are trained on bitsandbytes' alone"
        raise ConfigError("models", model.path, problem, "set models[].quantization on the model as it was before")
    if zero_stage(config.training) == 3:
        problem = f"spreads weights over processes, and those of {model.name} are quantised ({model.quantization})"
        raise ConfigError("training.deepspeed.zero_optimization.stage", 3, problem, "set it to 2 or less")


def with_modules(config: StudyConfig, models: Sequence[Model]) -> tuple[Model, ...]:
    """The models, each with the modules that it `adapts` where these are others than in the first release.

    Raises ConfigError for a name that means no linear module of a model, or more than linear modules. Where
    `all-linear` is asked of a model that has linear modules alone, that is what it means: no model library is loaded.
    """
    asked: dict[Modules, tuple[Recipe, str]] = {}
    for name, recipe in config.trained_by.items():
        if recipe.low_rank is not None and learned(config):
            asked.setdefault(recipe.low_rank.modules, (recipe, f"{key_of(name)}.lora.modules"))
    return tuple(_asked(model, asked) for model in models)


def _asked(model: Model, asked: Mapping[Modules, tuple[Recipe, str]]) -> Model:
    """A model with what it `adapts`, and with the body that it has when it is loaded, not in its files."""
    asked = {modules: of for modules, of in asked.items() if of[0].named_modules or model.is_mixed}
    if not asked:
        return model
    from adapters.base.loading import shell_of
    from adapters.folders.folder import UnsupportedAdapter
    from adapters.folders.targeting import by_peft, other_than_first
    from adapters.kinds.followed import body_of

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell = shell_of(model)
    adapts = []
    for modules, (recipe, key) in asked.items():
        names = recipe.named_modules
        try:
            if names:
                _check(names, model, by_peft(shell, names), key)
            adapts.append((modules, other_than_first(shell, modules)))
        except UnsupportedAdapter as error:
            reason = " ".join(str(error).split())[:300]
            told = list(names) or modules
            raise ConfigError(key, told, f"{model.name}: {reason}", "use all-linear, or other names") from error
    body = body_of(shell, model.body, model.dtype, "all-linear" in asked)
    return replace(model, adapts=tuple(one for one in adapts if one[1]), body=body)


def _check(names: Sequence[str], model: Model, found: Targets, key: str) -> None:
    if found.parameters:
        problem = (
            f"{model.name}: PEFT reads these names as {found.parameters[0]} too, which holds several experts at once"
        )
        raise ConfigError(key, list(names), problem, "use all-linear, which leaves fused experts out, or other names")
    for name in names:
        if not any(one == name or one.endswith(f".{name}") for one in found.modules):
            there = ", ".join(sorted({one.rpartition(".")[2] for one in found.modules}))
            problem = (
                f"{model.name} has no linear module of this name when it is loaded (of those named it has {there})"
            )
            raise ConfigError(key, name, problem, "use all-linear, or leave it out")
