"""Checks of the recipes of a config: each by itself, and that they differ."""

from __future__ import annotations

from pydantic import ValidationError

from study.config import Recipe, StudyConfig
from study.config.check_kind import check_kind, check_packing, check_recomputing
from study.config.check_several import check_mixing, check_near
from study.config.complaint import readable
from study.config.recipes import check_different, key_of, merged
from study.errors import ConfigError


def check_recipes(config: StudyConfig) -> None:
    """Raise ConfigError for a recipe that cannot be, or two that are one."""
    general = config.recipe.model_dump(exclude_unset=True)
    for name, own in config.recipes.items():
        try:
            Recipe.model_validate(merged(general, own))
        except ValidationError as error:
            raise readable(error, Recipe, key_of(name)) from error
    check_different(config.trained_by)
    for one, recipe in config.trained_by.items():
        check_kind(recipe, key_of(one))
        if config.training.gradient_checkpointing:
            check_recomputing(recipe, key_of(one))
        if config.training.packing:
            check_packing(recipe, key_of(one))
        check_mixing(recipe.mixing, key_of(one))
        check_near(config, recipe, key_of(one))
        _check_epochs(recipe, key_of(one))
    _check_held_out(config)


def _check_epochs(recipe: Recipe, of: str) -> None:
    """Raise ConfigError where only the data tell how many epochs there are."""
    if recipe.score_epochs == "all" and recipe.max_steps is not None:
        problem, fix = "may end training in any epoch", f"drop it, or {of}.score_epochs"
        raise ConfigError(f"{of}.max_steps", recipe.max_steps, problem, fix)
    if recipe.score_epochs == "all" and recipe.mixing.order == "sequential":
        problem, fix = "has epochs of each cell, and not of all", f"take another order, or drop {of}.score_epochs"
        raise ConfigError(f"{of}.mixing.order", "sequential", problem, fix)


def _check_held_out(config: StudyConfig) -> None:
    """Raise ConfigError where recipes hold out other examples than each other, and these are scored."""
    lambdas, texts = any(entry.protocol for entry in config.compose), any(map(config.is_text, config.target_list()))
    if not lambdas and not texts:
        return
    first, *others = ((name, recipe.validation) for name, recipe in config.trained_by.items())
    for name, validation in others:
        if any(getattr(validation, key) != getattr(first[1], key) for key in ("fraction", "seed", "split")):
            why = "compose chooses a lambda on these" if lambdas else "raw text among the targets is scored on these"
            problem = f"holds out other examples than {key_of(first[0])}, and {why}"
            raise ConfigError(f"{key_of(name)}.validation", "…", problem, "let all recipes hold out the same")
