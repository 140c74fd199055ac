"""The language of a text, guessed by trigrams: how often that is wrong, on texts of real languages it has not seen.

The texts are the Universal Declaration of Human Rights, as the project "UDHR in Unicode" has it: two thirds of each to
learn (7 KB), the last third cut into answers of so many words.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from study.languages import Languages

HERE = Path(__file__).parent / "declaration"
TEXTS = {
    name: (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in ("de", "en", "es", "fr", "sw")
}
LEARNED = {name: lines[: 2 * len(lines) // 3] for name, lines in TEXTS.items()}
KNOWN = Languages.of(LEARNED)


def pieces(words: int) -> list[tuple[str, str]]:
    """A language and an answer in it, of so many words."""
    found = []
    for name, lines in TEXTS.items():
        for line in lines[len(LEARNED[name]) :]:
            own = line.split()
            found += [(name, " ".join(own[i : i + words])) for i in range(0, len(own) - words + 1, words)]
    return found


@pytest.mark.parametrize(("words", "most"), [(1, 14.0), (2, 4.5), (3, 1.6), (5, 0.8), (8, 0.0)])
def test_the_language_of_short_answers_is_rarely_guessed_wrongly(words: int, most: float) -> None:
    """Docs give these rates: 13, 4.0, 1.3, 0.7 and 0 % of 3,263 to 368 answers."""
    answers = [(name, text) for name, text in pieces(words) if KNOWN.guess(text)]
    assert len(answers) > 300
    wrong = sum(KNOWN.guess(text) != (name,) for name, text in answers)
    assert 100 * wrong / len(answers) <= most
    each = {name: KNOWN.share([text for own, text in answers if own == name], name) for name in TEXTS}
    assert min(share or 0 for share in each.values()) >= 0.97 - 0.2 * (words < 3), each


def test_what_tells_nothing_is_no_language_or_several() -> None:
    assert KNOWN.guess("") == KNOWN.guess("42 – 1948!") == ()
    assert KNOWN.guess("жжж") == KNOWN.guess("人人生而自由") == ()  # seen in none
    assert KNOWN.share(["42", "人人生而自由", LEARNED["sw"][0], LEARNED["sw"][1]], "sw") == 0.5
    assert KNOWN.share(["a"], "xx") is None
    assert Languages.of({"en": LEARNED["en"], "de": []}).share(["a"], "en") is None  # nothing to tell it from
    assert Languages({}).guess("word") == ()
    alike = Languages.of({"de": ["ja"], "nl": ["ja"], "en": ["yes"]})
    assert (alike.guess("ja"), alike.share(["ja", "yes"], "de")) == (("de", "nl"), 0.0)


def test_much_text_counts_no_more_than_little_and_case_and_marks_do_not() -> None:
    more = Languages.of({**LEARNED, "en": LEARNED["en"] * 40})
    wrong = sum(more.guess(text) != (name,) for name, text in pieces(5))
    assert wrong <= 0.01 * len(pieces(5))
    assert KNOWN.guess("RECHTE, FREIHEITEN!") == KNOWN.guess("rechte freiheiten") == ("de",)
    assert Languages(KNOWN.counts).identity == KNOWN.identity != more.identity
