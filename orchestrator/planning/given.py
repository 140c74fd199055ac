"""Adapters that were made elsewhere, held against the modules of their models: what of them has no place there.

An adapter of a model that also sees or hears has parts beside its language model, in towers for images or sound. On
that language model alone they are left out, which is told; where names do not say so, the adapter is refused. Asking
the model needs none of its weights, but seconds, so it is asked only where an adapter's names begin in several ways, or
in none that the model's files know.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from study.config import Recipe, StudyConfig
from study.errors import ConfigError
from study.models import fits, given_weights, peft_config
from study.models.resolve import Model
from study.store.layout import CONFIG_FILE
from study.units import GivenAdapter

_PREFIX = "base_model.model."


def with_left_out(given: Sequence[GivenAdapter], models: Sequence[Model]) -> tuple[GivenAdapter, ...]:
    """The config's adapters, each with what is left out of it. Raises ConfigError for one that its model is not of."""
    named = {model.name: model for model in models}
    return tuple(_held(adapter, named[adapter.model], f"adapters[{i}].path") for i, adapter in enumerate(given))


def check_plain(parts: Iterable[GivenAdapter]) -> None:
    """Raise ConfigError for a part of a combination that is no plain LoRA: its update is no sum of products."""
    for part in parts:
        from adapters.folders.folder import UnsupportedAdapter, check  # torch, which takes seconds

        try:
            check(peft_config.read(Path(part.path) / CONFIG_FILE), part.name)
        except (UnsupportedAdapter, ValueError) as error:
            fix = "combine plain LoRA adapters; one of another start can be saved as one"
            raise ConfigError("compose", part.name, f"cannot be a part: {error}", fix) from error


def check_starts(starts: Iterable[GivenAdapter], config: StudyConfig, models: Sequence[Model]) -> None:
    """Raise ConfigError for an adapter that no stage can begin with: no plain LoRA, or of another shape than theirs."""
    named = {model.name: model for model in models}
    for start in starts:
        for recipe in config.trained_by.values():
            _check_start(start, recipe, named[start.model])


def _check_start(start: GivenAdapter, recipe: Recipe, model: Model) -> None:
    from adapters.kinds.lora_start import check_start  # torch, which takes seconds

    lora = recipe.lora
    if lora is None or not recipe.is_plain_lora or lora.init != "default":
        problem = f"cannot begin a stage: it is plain LoRA, and by the recipe that is {recipe.tuning}"
        raise ConfigError("sources", start.name, problem, "begin with a source of the study, or train plain LoRA")
    try:
        check_start(Path(start.path), lora, model)
    except ValueError as error:
        fix = "begin with another one, or train by its settings"
        raise ConfigError("sources", start.name, f"cannot begin a stage: {error}", fix) from error


def left_out(given: Sequence[GivenAdapter]) -> Iterator[str]:
    """Give a line for each adapter of which something is left out."""
    for adapter in given:
        if adapter.left_out:
            count, parts = sum(n for _, n in adapter.left_out), ", ".join(part for part, _ in adapter.left_out)
            yield (
                f"adapter {adapter.name}: {count:,} of its tensors are left out, those of {parts}: {adapter.model} has "
                "no such part, being a language model alone. Texts do not come by there"
            )


def _held(adapter: GivenAdapter, model: Model, key: str) -> GivenAdapter:
    folder = Path(adapter.path)
    own = given_weights.shapes(given_weights.files(folder))
    if not _is_in_doubt(own, model):
        return adapter
    from adapters.base.loading import shell_of  # torch, which takes seconds
    from adapters.folders.renamed import left_out, strangers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell = shell_of(model)
    gone = left_out(shell, own, peft_config.read(folder / CONFIG_FILE))
    if not gone and (found := strangers(shell, own)):
        problem = f"its {found[0]} belongs to no part of {model.name} ({len(found):,} such tensors)"
        fix = "name the model that it was trained on; what it has of a tower for images or sound can be taken out of it"
        raise ConfigError(key, adapter.path, problem, fix)
    return replace(adapter, left_out=tuple(sorted(Counter(map(_part, gone)).items())))


def _is_in_doubt(own: Collection[str], model: Model) -> bool:
    begins = {_begin(name) for name in own if name.startswith(_PREFIX)}  # not those of vectors before a text
    known = {_begin(name) for name in fits.weights(model)}
    return len(begins) > 1 or bool(known and not begins <= known)


def _begin(name: str) -> str:
    return ".".join(name.removeprefix(_PREFIX).split(".")[:2])


def _part(name: str) -> str:
    """What a tensor is a part of, below the whole model."""
    return _begin(name).removeprefix("model.").partition(".")[0]
