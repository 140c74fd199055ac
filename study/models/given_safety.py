"""What a folder of a stranger's adapter may do to us before any of it is used: links and patterns.

Invariant: what is copied into the store lies in the folder, and a pattern that it states is matched in bounded time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MOST_CHARACTERS, MOST_UNBOUNDED = 500, 2
_PATTERNS = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)


def link_out_of(folder: Path) -> str | None:
    """The name of a file of the folder that lies elsewhere; what the Hub's cache links within itself is its own."""
    home = folder.resolve()
    root = home.parent.parent if home.parent.name == "snapshots" else home
    files = (file for file in sorted(home.iterdir()) if file.suffix in (".json", ".safetensors", ".bin", ".jinja"))
    return next((file.name for file in files if not file.resolve().is_relative_to(root)), None)


def slow_pattern(config: Mapping[str, Any]) -> str | None:
    """Say which pattern of an adapter's configuration might take for ever to match a module's name."""
    for key, pattern in _patterns(config):
        if len(pattern) > MOST_CHARACTERS:
            return f"{key} holds a pattern of {len(pattern):,} characters"
        try:
            unbounded = _unbounded(parser.parse(pattern))
        except (re.error, RecursionError, OverflowError):
            return f"{key} holds no pattern: {pattern[:60]!r}"
        if unbounded > MOST_UNBOUNDED:
            return f"{key} holds a pattern that may take for ever to match: {pattern[:60]!r}"
    return None


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in _PATTERNS:
        stated = config.get(key)
        for one in stated if isinstance(stated, list) else [stated]:
            if isinstance(one, str):
                yield key, one
    for key in ("rank_pattern", "alpha_pattern"):
        stated = config.get(key)
        for one in stated if isinstance(stated, Mapping) else ():
            yield key, str(one)


def _unbounded(parsed: Any) -> int:
    """How many times a text can be cut anew: repeats without a small bound, those within another counted as many."""
    found = 0
    for operation, argument in parsed:
        if operation in _REPEATS:
            _, most, inner = argument
            many, within = most > 16, _unbounded(inner)
            found += (MOST_UNBOUNDED + 1 if within else 1) if many else within * max(1, int(most))
        elif operation is sre.BRANCH:
            found += max((_unbounded(one) for one in argument[1]), default=0)
        elif operation is sre.SUBPATTERN:
            found += _unbounded(argument[-1])
        elif operation in (sre.ASSERT, sre.ASSERT_NOT):
            found += _unbounded(argument[1])
        elif operation is sre.GROUPREF:
            found += 1
    return found
