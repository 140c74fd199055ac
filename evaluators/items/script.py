"""Whether an answer is written in the script of what it should be: the known failure of zero-shot transfer is English.

`script` of an item is the share of the answer's letters that are of a script of its references', 0 to 1; an answer
without a letter has 0, one whose references have none has 1. Languages that share a script are not told apart.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_ONE = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}  # Japanese mixes them


def in_script(answer: str, references: Sequence[str]) -> float:
    """The share of the answer's letters in a script that some reference has."""
    wanted = {script for reference in references for script in _scripts(reference)}
    letters = _scripts(answer)
    if not wanted:
        return 1.0
    return sum(script in wanted for script in letters) / len(letters) if letters else 0.0


def _scripts(text: str) -> list[str]:
    """The script of each letter."""
    return [script for character in text if (script := _script(character))]


@lru_cache(1 << 14)
def _script(character: str) -> str:
    """The first word of a letter's Unicode name, which is its script; nothing of what is no letter."""
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    return _ONE.get(first, first)
