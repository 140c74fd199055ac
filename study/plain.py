"""Text of strangers on a terminal: names, errors and data may hold what a terminal obeys.

Invariant: what a command of ours prints goes through `say`, or through a console that uses `plain`, so that no escape
sequence, no carriage return that writes over a line, and no mark that turns the direction of text reaches the screen:
each is shown as Python would write it (`\\x1b`). What programs read goes through `tell`, which escapes it as JSON does.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

# C0 and C1 controls but for tab and line feed, marks of direction, separators of lines, halves of surrogate pairs
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def plain(text: str) -> str:
    """The text with all that a terminal would obey made visible."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def tell(value: object) -> None:
    """Print for programs, at once: JSON, which holds what `value` holds, on standard output; of inf and NaN null."""
    text = json.dumps(_finite(value), ensure_ascii=False, indent=1, allow_nan=False, default=str)
    _print(_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text), sys.stdout)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def say(text: object = "", to: TextIO | None = None, end: str = "\n") -> None:
    """Print for people, at once: on standard output unless `to` is another stream."""
    _print(plain(str(text)), to or sys.stdout, end)


def _print(text: str, to: TextIO, end: str = "\n") -> None:
    """Print. Who reads may have gone, as `| head` does: the rest is then printed nowhere, and the command goes on."""
    try:
        print(text, file=to, end=end, flush=True)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), to.fileno())
