"""What options of commands share: a folder of this machine, names with commas between, what a name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from study.errors import ConfigError


def folder_here(option: str, name: str) -> Path:
    """The folder; ConfigError for a URI, which would make a folder of that name here."""
    if "://" in name:
        raise ConfigError(option, name, "is no folder of this machine", "name one, and copy it from there to a bucket")
    return Path(name)


def listed(option: str, text: str | None) -> tuple[str, ...] | None:
    """The names, empty ones left out; None where the option is not given, ConfigError where it names nothing."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ConfigError(option, text, "it names nothing", "leave the option out, or name some, comma-separated")
    return names


def closest_first(name: str, known: Iterable[str]) -> str:
    """The known names with commas between, those that are nearly the name before the others."""
    names = list(known)
    return ", ".join(dict.fromkeys([*difflib.get_close_matches(name, names), *names]))
