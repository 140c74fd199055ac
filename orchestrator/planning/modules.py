"""Whether a model has the modules that a recipe names, as PEFT itself reads names: asked without its weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from study.config import StudyConfig
from study.errors import ConfigError
from study.models.resolve import Model

KEY = "recipe.lora.modules"


def check_modules(config: StudyConfig, models: Sequence[Model]) -> None:
    """Raise ConfigError for a name that means no linear module of a model, or more than linear modules.

    `all-linear` means what is there: nothing is asked, and no model library loaded.
    """
    names = config.recipe.named_modules
    for model in models if names else ():
        _check(names, model)


def _check(names: Sequence[str], model: Model) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from adapters.base import load_config
    from adapters.folder import UnsupportedAdapter
    from adapters.targeting import by_peft

    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            auto: Any = AutoModelForCausalLM
            shell = auto.from_config(load_config(model), trust_remote_code=model.trust_remote_code)
        found = by_peft(shell, names)
    except UnsupportedAdapter as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(KEY, list(names), f"{model.name}: {reason}", "use all-linear, or other names") from error
    if found.parameters:
        problem = (
            f"{model.name}: PEFT reads these names as {found.parameters[0]} too, which holds several experts at once"
        )
        raise ConfigError(KEY, list(names), problem, "use all-linear, which leaves fused experts out, or other names")
    for name in names:
        if not any(one == name or one.endswith(f".{name}") for one in found.modules):
            there = ", ".join(sorted({one.rpartition(".")[2] for one in found.modules}))
            problem = (
                f"{model.name} has no linear module of this name when it is loaded (of those named it has {there})"
            )
            raise ConfigError(KEY, name, problem, "use all-linear, or leave it out")
