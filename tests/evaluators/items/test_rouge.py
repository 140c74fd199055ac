"""ROUGE in any script: `rouge_score`'s own numbers where it can read the letters, and what it makes 0 elsewhere."""

from __future__ import annotations

import random

import pytest
from rouge_score.rouge_scorer import RougeScorer

from evaluators.items.rouge import rouge, tokens
from evaluators.items.script import in_script


def test_in_plain_english_it_is_rouge_score() -> None:
    rng, scorer = random.Random(3), RougeScorer(["rouge1", "rouge2", "rougeL"])
    for _ in range(40):
        answer, reference = (" ".join(rng.choices(list("abcdef."), k=rng.randint(0, 12))) for _ in range(2))
        expected = {name: score.fmeasure for name, score in scorer.score(reference, answer).items()}
        assert rouge(answer, [reference]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Привет, мир!", 2),
        ("السلام عليكم", 2),
        ("नमस्ते दुनिया।", 2),
        ("今天天气很好。", 6),
        ("ไทย", 3),
        ("çok güzel", 2),
    ],
)
def test_every_script_has_words_and_a_text_is_like_itself(text: str, words: int) -> None:
    assert len(tokens(text)) == words
    assert rouge(text, [text]) == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "The river rose 3.5 m overnight; nobody's house was flooded.",
            "the river rose 3 5 m overnight nobody s house was flooded",
        ),
        (
            "Der Fluss stieg über Nacht – „drei Meter“, sagt die Müllerin.",
            "der fluss stieg über nacht drei meter sagt die müllerin",
        ),
        ("El río creció: ¿quién lo vio? ¡Nadie!", "el río creció quién lo vio nadie"),
        ("L'eau a monté d'un mètre, dit-elle.", "l eau a monté d un mètre dit elle"),
        (
            "Река поднялась за ночь на три метра, говорит мельник.",
            "река поднялась за ночь на три метра говорит мельник",
        ),
        ("ارتفع النهر، ولم يغرق أحد؟", "ارتفع النهر ولم يغرق أحد"),
        ("नदी रात में तीन मीटर बढ़ी।", "नदी रात में तीन मीटर बढ़ी"),
        ("নদী রাতে তিন মিটার বেড়েছে।", "নদী রাতে তিন মিটার বেড়েছে"),
        ("Nehir gece üç metre yükseldi; İstanbul'da değil.", "nehir gece üç metre yükseldi i̇stanbul da değil"),
        ("Mto uliongezeka mita tatu (usiku).", "mto uliongezeka mita tatu usiku"),
        ("50% > $3 & 4€ – 2×2", "50 3 4€ 2×2"),
    ],
)
def test_words_are_those_of_xl_sums_basic_tokenizer(text: str, words: str) -> None:
    """What csebuetnlp/xl-sum at afcd803, multilingual_rouge_scoring, makes of sentences of ours, between spaces.

    It leaves Chinese, Japanese and Thai whole, which part no words; the papers' numbers there are of other tokenizers.
    """
    assert tokens(text) == words.split(" ")


LANGUAGES = ("The river rose.", "Der Fluss stieg.", "El río creció.", "L'eau a monté.")


@pytest.mark.parametrize("text", LANGUAGES)
def test_identical_texts_score_1_and_disjoint_ones_0(text: str) -> None:
    assert set(rouge(text, [text]).values()) == {1.0}
    assert {score for other in LANGUAGES if other != text for score in rouge(text, [other]).values()} == {0.0}


def test_forms_of_a_letter_are_one_and_the_best_reference_counts() -> None:
    assert tokens("Cafe\u0301 \u200bX") == tokens("CAFÉ x")
    assert rouge("a b", ["c d", "a b"])["rougeL"] == 1.0
    assert rouge("", ["a"]) == rouge("a", []) == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


@pytest.mark.parametrize(
    ("answer", "reference", "share"),
    [
        ("The capital", "Столица", 0.0),
        ("Столица 1.", "столица!", 1.0),
        ("ab вг", "где", 0.5),
        ("東京です", "トウキョウ", 1.0),
        ("123", "где", 0.0),
        ("abc", "123", 1.0),
        ("दिल्ली", "दिल्ली है", 1.0),
    ],
)
def test_an_answer_in_another_script_is_told(answer: str, reference: str, share: float) -> None:
    assert in_script(answer, [reference]) == share
