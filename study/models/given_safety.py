"""What a folder of a stranger's adapter may do to us before any of it is used: links and patterns.

Invariant: what is copied into the store lies in the folder, and a pattern that it states is matched in bounded time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MOST_CHARACTERS, MOST_WAYS, MOST_IN_ALL = 500, 1_000_000, 20_000_000
LONGEST_NAME = 128  # of a model's modules, about
_OTHERS = ("target_modules", "exclude_modules", "modules_to_save", "feedforward_modules")
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_PLAIN = (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN, sre.AT, sre.FAILURE)


def link_out_of(folder: Path) -> str | None:
    """The name of a file of the folder that lies elsewhere; what the Hub's cache links within itself is its own."""
    home = folder.resolve()
    cached = home.parent.name == "snapshots" and home.parent.parent.name.startswith("models--")
    roots = (home, home.parent.parent / "blobs") if cached else (home,)
    files = (file for file in sorted(home.iterdir()) if file.suffix in (".json", ".safetensors", ".bin", ".jinja"))
    return next((file.name for file in files if not any(file.resolve().is_relative_to(root) for root in roots)), None)


def slow_pattern(config: Mapping[str, Any]) -> str | None:
    """Say which pattern of an adapter's configuration might take for ever to match a module's name."""
    together = 0.0
    for key, pattern in _patterns(config):
        if len(pattern) > MOST_CHARACTERS:
            return f"{key} holds a pattern of {len(pattern):,} characters"
        try:
            ways = math.exp(min(_ways(parser.parse(pattern)), 50))
        except (re.error, RecursionError, OverflowError):
            return f"{key} holds no pattern: {pattern[:60]!r}"
        together += ways
        if not ways <= MOST_WAYS:
            return f"{key} holds a pattern that may take for ever to match: {pattern[:60]!r}"
        if together > MOST_IN_ALL:
            return f"{key} holds patterns that may together take for ever to match"
    return None


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What PEFT matches with modules' names: texts, lists of them, or the keys of a mapping."""
    for key, stated in config.items():
        if key in _OTHERS or key.endswith("_pattern"):
            for one in stated if isinstance(stated, list | dict) else [stated]:
                if isinstance(one, str):
                    yield key, one


def _ways(parsed: Any) -> float:
    """The logarithm of how many ways there may be to match a name, each of which may be tried."""
    found = 0.0
    for operation, argument in parsed:
        if operation in _REPEATS:
            least, most, inner = argument
            times = min(int(most), LONGEST_NAME)
            if times > 1 and inner.getwidth()[0] == 0:  # nothing, time and again
                return math.inf
            if times:
                found += times * _ways(inner) + math.log(max(1, times - int(least) + 1))
        elif operation is sre.BRANCH:
            found += _of_any(argument[1])
        elif operation is sre.GROUPREF_EXISTS:
            found += _of_any([one for one in argument[1:] if one is not None])
        elif operation is sre.SUBPATTERN:
            found += _ways(argument[-1])
        elif operation is sre.ATOMIC_GROUP:
            found += _ways(argument)
        elif operation in (sre.ASSERT, sre.ASSERT_NOT):
            found += _ways(argument[1])
        elif operation is sre.GROUPREF:
            found += math.log(LONGEST_NAME)
        elif operation not in _PLAIN:
            return math.inf
    return found


def _of_any(branches: Sequence[Any]) -> float:
    return math.log(sum(math.exp(min(_ways(one), 50)) for one in branches))
