"""In which of a study's languages a text is written, guessed by the trigrams of characters of texts that are known.

A text is most likely in the language whose texts have its trigrams most often: P(t | language) is nine tenths of the
share that t has there, and one tenth of an even share for every trigram that any language has, so that what was never
seen tells alike against all, whatever they have texts of (a naive Bayes classifier over what Cavnar and Trenkle 1994
rank). Letters and their marks count, case does not; a word begins and ends with a space.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

SEEN = 0.9  # of the probability; the rest is spread evenly
MOST = 6_000  # trigrams that are kept of a language, the most frequent ones
CHARACTERS = 100_000  # of the texts of a language that are read
ALIKE = 1e-9
RULE = 2  # raised where guesses change: what was told by another is told anew


class Languages:
    """What is known of several languages: how often each trigram stands in their texts."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self.counts = {name: dict(own) for name, own in counts.items() if own}

    @classmethod
    def of(cls, texts: Mapping[str, Sequence[str]]) -> Languages:
        """Learn from texts of each language: from some of them, spread over all, where they are many."""
        return cls({name: dict(Counter(_trigrams_of(some)).most_common(MOST)) for name, some in texts.items()})

    def guess(self, text: str) -> tuple[str, ...]:
        """The language that a text is most likely in; several that are as likely, none where no trigram is known."""
        scores = dict.fromkeys(self._names, 0.0)
        found = False
        for trigram in trigrams(text):
            if (known := self._known.get(trigram)) is not None:
                found = True
                for name, more in zip(scores, known, strict=True):
                    scores[name] += more
        if not found:
            return ()
        most = max(scores.values())
        return tuple(name for name, score in scores.items() if score >= most - ALIKE)

    def share(self, texts: Sequence[str], language: str) -> float | None:
        """Of how many texts that language alone is the guess, 0 to 1; None where it is not known, or no other is."""
        if language not in self.counts or len(self.counts) < 2 or not texts:
            return None
        return sum(self.guess(text) == (language,) for text in texts) / len(texts)

    @property
    def identity(self) -> str:
        """Digest of all that is known, and of how it is guessed by."""
        return hashlib.sha256(json.dumps([RULE, self.counts], sort_keys=True).encode()).hexdigest()[:16]

    @property
    def _names(self) -> list[str]:
        return list(self.counts)

    @cached_property
    def _known(self) -> dict[str, tuple[float, ...]]:
        """Of each trigram its log-probability in every language; one that none has is as likely in all."""
        every = {trigram for own in self.counts.values() for trigram in own}
        totals = [sum(own.values()) for own in self.counts.values()]
        even = (1 - SEEN) / max(1, len(every))
        return {
            trigram: tuple(
                math.log(SEEN * own.get(trigram, 0) / total + even)
                for own, total in zip(self.counts.values(), totals, strict=True)
            )
            for trigram in every
        }


def trigrams(text: str) -> Iterator[str]:
    """Each three characters that follow one another in a word, which has a space before and behind it."""
    for word in _words(text):
        spaced = f" {word} "
        yield from (spaced[i : i + 3] for i in range(len(spaced) - 2))


def _words(text: str) -> list[str]:
    """What stands between anything but letters and their marks, in lower case."""
    whole = unicodedata.normalize("NFC", text).lower()
    return "".join(one if unicodedata.category(one)[0] in "LM" else " " for one in whole).split()


def _trigrams_of(texts: Sequence[str]) -> Iterator[str]:
    step = max(1, math.ceil(sum(map(len, texts)) / CHARACTERS))
    for text in texts[::step]:
        yield from trigrams(text[:CHARACTERS])
