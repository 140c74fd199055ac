"""Whether training by a recipe can begin with an adapter that exists already: found before anything is trained."""

from __future__ import annotations

import warnings
from pathlib import Path

from adapters.base.loading import shell_of
from adapters.folders.folder import PREFIX, UnsupportedAdapter, check
from adapters.kinds.lora_weights import modules_of
from study.config import Lora
from study.models import given_weights, peft_config
from study.models.resolve import Model
from study.store.layout import CONFIG_FILE

_PATTERNS = ("rank_pattern", "alpha_pattern")


def check_start(folder: Path, lora: Lora, model: Model) -> None:
    """Raise UnsupportedAdapter unless an adapter is plain LoRA by the recipe's settings, on the recipe's modules."""
    config = peft_config.read(folder / CONFIG_FILE)
    check(config, str(folder))
    wanted = {"r": lora.r, "lora_alpha": lora.alpha, "use_rslora": lora.rslora}
    for key, value in wanted.items():
        if config.get(key, False) != value:
            raise UnsupportedAdapter(f"its {key} is {config.get(key, False)}, and by recipe.lora it is {value}")
    for key in _PATTERNS:
        if config.get(key):
            raise UnsupportedAdapter(f"its {key} gives some modules others than the rest have")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell = shell_of(model)
    names = given_weights.shapes(given_weights.files(folder))
    own = {name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in names}
    modules = set(modules_of(shell, lora))
    for name in sorted(own ^ modules):
        has, lacks = ("it", "recipe.lora") if name in own else ("recipe.lora", "it")
        raise UnsupportedAdapter(f"{has} adapts {name}, and {lacks} does not")
