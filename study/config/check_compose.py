"""Checks of what is put together of adapters: whether it can be, and whether a lambda is chosen on anything."""

from __future__ import annotations

from study.config.distinct import reject_duplicates
from study.config.expansion import Combination, choices, combinations
from study.config.keys import StudyConfig
from study.config.recipes import key_of
from study.errors import ConfigError

_TO_ADD = {
    "source": "score a cell of the terms too, list it in `targets`",
    "other_languages": "score a task in other languages of `for` too, list them in `targets`",
}


def check_compose(config: StudyConfig) -> None:
    """Raise ConfigError for combinations that cannot be, or that would be scored in vain."""
    if not config.compose:
        return
    for name, recipe in config.trained_by.items():
        if recipe.trains_all:
            problem, fix = f"is of LoRA adapters, and {key_of(name)}.lora is null", "set it, or drop compose"
            raise ConfigError("compose", "…", problem, fix)
        if not recipe.is_plain_lora:
            problem = f"is of plain LoRA adapters, and {key_of(name)}.kind is {recipe.kind}"
            raise ConfigError("compose", "…", problem, "take kind: lora, or drop it")
    reject_duplicates("compose", [entry.name for entry in config.compose])
    for i, entry in enumerate(config.compose):
        if entry.method == "svd" and entry.rank == "full":
            problem, fix = "svd cuts a sum to a rank, and of full rank it is the sum", "take method: sum without rank"
            raise ConfigError(f"compose[{i}].rank", entry.rank, problem, fix)
    found = combinations(config)
    for one in found:
        _check_arrow(one)
    _check_choices(config, found)


def _check_arrow(one: Combination) -> None:
    """Raise ConfigError for weights of what weighs its parts itself; a part that stands there twice counts double."""
    if one.keys.method != "arrow":
        return
    for i, term in enumerate(one.keys.terms):
        if term.weight != 1.0:
            problem, fix = "arrow weighs its parts itself, for each token", "leave weight out, or take another method"
            raise ConfigError(f"{one.key}.terms[{i}].weight", term.weight, problem, fix)
        if one.parts[i] in one.parts[:i]:
            problem = f"is in {one.name} twice, and arrow weighs its parts itself, for each token"
            raise ConfigError(f"{one.key}.terms[{i}]", one.parts[i], problem, "name each part once")


def _check_choices(config: StudyConfig, found: list[Combination]) -> None:
    """Raise ConfigError where no target has items that choose a lambda: all would be scored, and none reported."""
    tasks = [cell for cell in config.target_list() if not config.is_text(cell)]
    left = choices(config, found).left
    for key in dict.fromkeys(one.key for one in found if one.keys.protocol and tasks):
        some = [one for one in found if one.key == key]
        if all(len(left[one.name]) == len(tasks) for one in some):
            protocol = str(some[0].keys.protocol)
            problem = f"of {', '.join(one.name for one in some)} no lambda is chosen for any target: nothing "
            problem += "that is scored has held-out items that this protocol reads"
            raise ConfigError(f"{key}.lambda.protocol", protocol, problem, f"{_TO_ADD[protocol]}, or take target")
