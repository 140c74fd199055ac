"""ROUGE-1, -2 and -L of one answer in any script: `rouge_score`'s arithmetic over words that every script has.

`rouge_score` keeps the letters a to z and the digits alone, so that identical Russian, Arabic, Hindi or Chinese texts
score 0. Here a text is brought to NFC and lower case; it falls into words at white space, at punctuation (Unicode
category P) and at ASCII symbols; of Han, kana, Thai, Lao, Khmer and Burmese, which part no words, each character is
one. Nothing is stemmed. Formulas: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_APART = (  # scripts that are written without spaces
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x2FA1F),
)


def rouge(answer: str, references: Sequence[str]) -> dict[str, float]:
    """F of ROUGE-1, -2 and -L, 0 to 1, each by the reference that it is best for. An empty answer has 0."""
    words = tokens(answer)
    found = [_one(words, tokens(reference)) for reference in references] or [_one(words, [])]
    return {name: max(one[name] for one in found) for name in found[0]}


def tokens(text: str) -> list[str]:
    """Cut a text into words."""
    marked = "".join(_marked(character) for character in unicodedata.normalize("NFC", text.lower()))
    return marked.split()


@lru_cache(1 << 14)
def _marked(character: str) -> str:
    """A character as it counts: itself, a gap, itself between gaps, or nothing."""
    category, code = unicodedata.category(character), ord(character)
    if character.isspace() or category[0] == "P" or (code < 128 and category[0] == "S"):
        return " "
    if category[0] == "C":
        return ""
    return f" {character} " if any(low <= code <= high for low, high in _APART) else character


def _one(answer: Sequence[str], reference: Sequence[str]) -> dict[str, float]:
    grams = {f"rouge{n}": _f(_overlap(answer, reference, n), *_sizes(answer, reference, n)) for n in (1, 2)}
    return {**grams, "rougeL": _f(_common(answer, reference), *_sizes(answer, reference, 1))}


def _sizes(answer: Sequence[str], reference: Sequence[str], n: int) -> tuple[int, int]:
    return max(0, len(answer) - n + 1), max(0, len(reference) - n + 1)


def _overlap(answer: Sequence[str], reference: Sequence[str], n: int) -> int:
    """Count the n-grams that both have, each as often as both have it."""
    one, other = (Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (answer, reference))
    return (one & other).total()


def _common(answer: Sequence[str], reference: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): a bit per word of the answer."""
    at: dict[str, int] = {}
    for place, word in enumerate(answer):
        at[word] = at.get(word, 0) | 1 << place
    all_bits = (1 << len(answer)) - 1
    free = all_bits
    for word in reference:
        taken = free & at.get(word, 0)
        free = ((free + taken) | (free - taken)) & all_bits
    return len(answer) - free.bit_count()


def _f(common: int, of_answer: int, of_reference: int) -> float:
    return 2 * common / (of_answer + of_reference) if common else 0.0
