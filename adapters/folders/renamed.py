"""Adapters of a language model that stood within another model, on that language model alone; and the reverse.

Such models call it `language_model`, and so do the names of an adapter's tensors, wherever libraries of their time had
put it. Invariant: only that part of names comes in or goes; what the tensors are, and to which module each belongs,
stays. Where it does not tell one module from another the folder stays as it is, and loading refuses it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from adapters.folders.folder import PREFIX
from adapters.folders.single_experts import asking_for_fused
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE
from study.store.safetensors_header import header_in

_INNER = "language_model"
_PATTERNS = ("rank_pattern", "alpha_pattern")
_RESOLVED = ("layers_to_transform", "layers_pattern", "exclude_modules")  # how the modules were chosen that are there


def as_read(base: PreTrainedModel, folder: Path, scratch: Path) -> Path:
    """An adapter's folder in the words of the installed libraries for this base, in a copy where it has others."""
    return asking_for_fused(base, under_names_of(base, folder, scratch), scratch)


def under_names_of(base: PreTrainedModel, folder: Path, scratch: Path) -> Path:
    """An adapter's folder; a copy below `scratch` with other names where the base calls its language model otherwise.

    What an adapter has beside the language model (in towers for images) is left out where the base has nothing but
    that: no text comes by there.
    """
    try:
        stated, config = header_in(folder / WEIGHTS_FILE).shapes, json.loads((folder / CONFIG_FILE).read_bytes())
    except (OSError, ValueError):  # loading says what is wrong
        return folder
    if (found := _found(base, stated, config)) is None:
        return folder
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except SafetensorError:
        return folder
    new, told = found
    copy = scratch / "renamed" / folder.name
    shutil.copytree(folder, copy)
    save_file({new[name]: tensors[name] for name in new}, copy / WEIGHTS_FILE, metadata={"format": "pt"})
    (copy / CONFIG_FILE).write_text(json.dumps(told), encoding="utf-8")
    return copy


def left_out(base: PreTrainedModel, stated: Collection[str], config: object) -> list[str]:
    """The tensors of an adapter, by their names, that are left out on this base."""
    found = _found(base, stated, config)
    return [] if found is None else [name for name in stated if name not in found[0]]


def strangers(base: PreTrainedModel, stated: Collection[str]) -> list[str]:
    """The tensors of an adapter, by their names, that lead to no part of this base, so that loading refuses them.

    None of a base whose names PEFT may give others: then loading tells.
    """
    mapping: object = get_checkpoint_conversion_mapping(base.config.model_type)  # type: ignore[no-untyped-call]
    if mapping or hasattr(base, "_checkpoint_conversion_mapping"):
        return []
    names = _Names(base)
    return [name for name in stated if name.startswith(PREFIX) and names.is_beside(name)]


def _found(
    base: PreTrainedModel, stated: Collection[str], config: object
) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The new names of an adapter's tensors, and its configuration for them; None where it stays as it is."""
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        return None
    names = _Names(base)
    new = names.instead_of(stated)
    if not new or all(name == other for name, other in new.items()) or len(set(new.values())) < len(new):
        return None
    try:
        told = _told(config, new, names)
    except (TypeError, AttributeError, re.error):
        return None
    return None if told is None else (new, told)


class _Names:
    """What a base calls its modules, found by these names without the part that says where the language model is."""

    def __init__(self, base: PreTrainedModel) -> None:
        self.modules: set[str] = {name for name, _ in base.named_modules()}
        counts = Counter(map(_short, self.modules))
        self._known = {_short(name): name for name in self.modules if counts[_short(name)] == 1}
        self._is_text_alone = not any(_is_inner(name) for name in self.modules)

    def instead_of(self, tensors: Collection[str]) -> dict[str, str]:
        """The names of an adapter's tensors by the base's; those beside a language model that it has alone are gone."""
        within = self._is_text_alone and any(_is_inner(name) for name in tensors)
        return {name: self._of(name) for name in tensors if not (within and self.is_beside(name))}

    def of_module(self, name: str) -> str:
        """A module's name by the base's, where it has one."""
        return self._known.get(_short(name), name)

    def has(self, name: str) -> bool:
        return any(f".{module}".endswith(f".{name}") for module in self.modules)

    def _of(self, tensor: str) -> str:
        parts = _short(tensor.removeprefix(PREFIX)).split(".")
        for length in range(len(parts) - 1, 0, -1) if tensor.startswith(PREFIX) else ():
            if (found := self._known.get(".".join(parts[:length]))) is not None:
                return PREFIX + ".".join([found, *parts[length:]])
        return tensor

    def is_beside(self, tensor: str) -> bool:
        """Whether a tensor belongs to no part of the base: the first two of its names lead to none."""
        parts = tensor.removeprefix(PREFIX).split(".")
        return (
            not _is_inner(tensor)
            and parts[0] not in self.modules - {"model"}
            and ".".join(parts[:2]) not in self.modules
        )


def _is_inner(name: str) -> bool:
    return _INNER in name.split(".")


def _short(name: str) -> str:
    """A name without the part that says where the language model is."""
    return ".".join(part for part in name.split(".") if part != _INNER)


def _told(config: Mapping[str, Any], new: Mapping[str, str], names: _Names) -> dict[str, Any] | None:
    """The configuration for the new names: each module that is adapted by its own, with the rank and alpha it had.

    None where experts are among them and patterns, whose names would have to be those of PEFT's own way with experts.
    """
    modules = {_module(name): _module(other) for name, other in new.items() if ".lora_" in name}
    if config.get("target_parameters") or not names.modules.issuperset(modules.values()):  # experts, by last names
        return None if any(config.get(key) for key in (*_PATTERNS, "layers_pattern")) else dict(config)
    told = {**config, **dict.fromkeys(_RESOLVED), "target_modules": sorted(set(modules.values()))}
    if saved := config.get("modules_to_save"):
        told["modules_to_save"] = [one for name in saved if names.has(one := names.of_module(name))]
    for key in _PATTERNS:
        patterns: Mapping[str, Any] = config.get(key) or {}
        found = {other: _by_pattern(patterns, name) for name, other in modules.items()}
        told[key] = {name: value for name, value in found.items() if value is not None}
    return told


def _by_pattern(patterns: Mapping[str, Any], module: str) -> Any:
    """What patterns say of a module, by PEFT's rule; some libraries wrote them for the names before theirs."""
    found = patterns.get(get_pattern_key(list(patterns), module))
    short = {_short(pattern): value for pattern, value in patterns.items()}
    return short.get(get_pattern_key(list(short), _short(module))) if found is None else found


def _module(tensor: str) -> str:
    return tensor.removeprefix(PREFIX).rpartition(".lora_")[0]
