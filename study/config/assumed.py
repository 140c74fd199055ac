"""What of a config is its author's guess where a study is done again of which not all was told: `assumed`.

It decides nothing and is in no identity; plans and reports say it.
"""

from __future__ import annotations

from collections.abc import Mapping


def assumptions(config: Mapping[str, object]) -> list[str]:
    """Each key that is assumed, its value where that is short, and why, of a config as a store's study.yaml has it."""
    stated = config.get("assumed")
    return [f"{_with_value(config, key)}: {why}" for key, why in stated.items()] if isinstance(stated, dict) else []


def _with_value(config: Mapping[str, object], key: str) -> str:
    value = value_of(config, key)
    return key if isinstance(value, list | tuple | dict) else f"{key} = {value}"


def value_of(config: Mapping[str, object], key: str) -> object:
    """The value of a key like `recipe.lora.alpha`. Raises KeyError."""
    found: object = config
    for part in key.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(key)
        found = found[part]
    return found
