"""From YAML text and command-line overrides to a StudyConfig, or one clear ConfigError."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from study import secrets
from study.bounded import read_yaml
from study.config import StudyConfig
from study.config.check import check
from study.config.complaint import readable
from study.config.recipes import merged
from study.config.text import mapping_of, read
from study.errors import ConfigError


def load(path: str | Path, overrides: Sequence[str] = (), limit: int | None = None) -> StudyConfig:
    """Read a config file, apply `--set key=value` overrides and `--limit`, and check it. Raises ConfigError.

    `extends: other.yaml` (relative to the file) takes what the file does not say itself from another one.
    """
    data: dict[str, object] = {}
    for file in reversed(bases(path)):
        data = merged(data, {key: value for key, value in read(file).items() if key != "extends"})
    return _checked(data, overrides, limit)


def parse(text: str, overrides: Sequence[str] = (), limit: int | None = None) -> StudyConfig:
    """Do the same with the YAML text of one file."""
    return _checked(mapping_of(text), overrides, limit)


def bases(path: str | Path) -> list[Path]:
    """List a config file, the one that it extends, and so on. Raises ConfigError."""
    found = [Path(path)]
    while (base := read(found[-1]).get("extends")) is not None:
        file = found[-1].parent / str(base)
        if any(file.resolve() == known.resolve() for known in found):
            raise ConfigError("extends", base, "extends itself", "name another file")
        found.append(file)
    return found


def _checked(data: dict[str, object], overrides: Sequence[str], limit: int | None) -> StudyConfig:
    secrets.reject("--set", overrides)  # each stands in command lines; and before any error that would repeat a value
    for override in overrides:
        _apply(data, override)
    secrets.reject("", data)
    if "trial_run" in data:
        raise ConfigError("trial_run", data["trial_run"], "unknown key", "use --limit N, which marks a store so")
    try:
        config = StudyConfig.model_validate(data)
    except ValidationError as error:
        raise readable(error, StudyConfig) from error
    check(config)
    return config if limit is None else config.limited(limit)


def _apply(data: dict[str, object], override: str) -> None:
    """Apply `a.b.0.c=value`: the value is YAML; list elements are named by their number."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError("--set", override, "is not key=value", "write e.g. --set recipe.epochs=1")
    try:
        value = read_yaml(text)
    except ValueError as error:
        raise ConfigError("--set", path, f"the value is not valid YAML ({error})", "quote it") from error
    *parents, last = path.split(".")
    node: object = data
    for part in parents:
        node = _step(node, part, override)
    if isinstance(node, list):
        node[_index(node, last, override)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise ConfigError("--set", override, f"{'.'.join(parents)} has no keys", "name a key of the config")


def _step(node: object, part: str, override: str) -> object:
    if isinstance(node, list):
        return node[_index(node, part, override)]
    if isinstance(node, dict):
        if node.get(part) is None:
            node[part] = {}
        return node[part]
    raise ConfigError("--set", override, f"nothing below {part!r} can be set", "name a key of the config")


def _index(node: list[object], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise ConfigError(
            "--set", override, f"{part!r} is not an element of a list of {len(node)}", f"use 0 to {len(node) - 1}"
        )
    return int(part)
