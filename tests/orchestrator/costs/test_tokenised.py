"""What a tokenizer makes of languages: tokens per character, and what two share, counted by hand."""

from __future__ import annotations

import pytest

from orchestrator.costs.tokenised import CHARACTERS, TEXTS, of_languages_by, some_of
from orchestrator.costs.tokens import TokenCounter


def test_fertility_and_overlap_are_counted_from_tokens() -> None:
    words = TokenCounter("words", lambda texts, begin: [text.split() for text in texts], True)
    found = of_languages_by(words, {"de": ["ja nein ja ja"], "en": ["yes", "no ja"], "xx": [""]})
    assert found.fertility == {"de": pytest.approx(4 / 13), "en": pytest.approx(3 / 8)}
    assert found.overlap["de"]["en"] == found.overlap["en"]["de"] == pytest.approx(min(3 / 4, 1 / 3))
    assert found.overlap["de"]["de"] == pytest.approx(1.0)
    assert "xx" not in found.overlap  # nothing is known of a language without a token


def test_of_many_texts_some_are_read_spread_over_all() -> None:
    texts = [f"{n} " + "x" * 1000 for n in range(3 * TEXTS)]
    some = some_of(texts)
    assert len(some) == TEXTS
    assert some[1].startswith("3 ")
    assert sum(map(len, some)) <= CHARACTERS
