"""Tokens, splits, order and dealing: all pure."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer

from study.config import Validation
from study.data.example import Example
from study.data.held_out import split
from trainers.data import BadData, encode_pair, steps, tokenise

PAIRS = [
    ("Question: what is the capital of France? Answer:", " Paris"),
    ("Question: what is the capital of France? Answer: ", "Paris"),
    ("the capital of Österreich is Wi", "en"),
    ("<s>Question:", " one"),
    ("one\n\n", "two three"),
    ("the capital app", "lum"),  # which make another token together
]


@pytest.mark.parametrize("fixture", ["tiny_model_dir", "tiny_model_no_bos_dir"])
def test_pairs_are_encoded_as_lm_eval_encodes_them(fixture: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(fixture)
    lm = HFLM(pretrained=str(folder), device="cpu")
    for prompt, answer in PAIRS:
        assert encode_pair(lm.tokenizer, prompt, answer) == lm._encode_pair(prompt, answer), (prompt, answer)


@pytest.mark.parametrize("fixture", ["tiny_model_dir", "tiny_model_no_bos_dir"])
def test_bos_stands_for_an_empty_prompt(fixture: str, request: pytest.FixtureRequest) -> None:
    tokenizer = AutoTokenizer.from_pretrained(request.getfixturevalue(fixture))
    assert encode_pair(tokenizer, "", "Wien") == ([0], tokenizer.encode("Wien", add_special_tokens=False))


def test_long_prompts_lose_their_start_and_keep_the_answer(tiny_model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    example = Example("one two three four five six seven eight nine ten" * 5, " Madrid")
    before, answer = encode_pair(tokenizer, example.prompt, example.answer)
    [row] = tokenise(tokenizer, [example], 20, "answer")
    assert list(row.tokens) == (before + answer)[-20:]
    assert list(row.tokens[row.first :]) == answer
    assert row.truncated
    [whole] = tokenise(tokenizer, [example], 20, "all")
    assert whole.targets == 19


def test_an_answer_without_a_token_is_bad_data(tiny_model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    with pytest.raises(BadData, match="example 2 of 2"):
        tokenise(tokenizer, [Example("one", " two"), Example("one ", "")], 20, "answer")
    with pytest.raises(BadData, match="no example"):
        tokenise(tokenizer, [], 20, "answer")


def test_validation_split_is_by_the_validation_seed_alone() -> None:
    learn, held_out = split(50, Validation(fraction=0.1, seed=3))
    assert len(held_out) == 5
    assert sorted(learn + held_out) == list(range(50))
    assert split(50, Validation(fraction=0.1, seed=4)) != (learn, held_out)
    assert split(9, Validation(fraction=0.1)) == (list(range(9)), [])
    assert split(9, Validation(fraction=0.0)) == (list(range(9)), [])


@pytest.mark.parametrize("count", [1, 5, 70, 215, 300])
def test_the_split_of_datasets_is_train_test_splits(count: int) -> None:
    learn, held_out = split(count, Validation(fraction=0.1, seed=42, split="datasets"))
    if count == 1:  # of which that makes no training set
        assert (learn, held_out) == ([0], [])
        return
    expected = Dataset.from_dict({"row": range(count)}).train_test_split(0.1, seed=42)
    assert (learn, held_out) == (sorted(expected["train"]["row"]), sorted(expected["test"]["row"]))


def test_nothing_is_held_out_of_a_fraction_of_zero() -> None:
    assert split(9, Validation(fraction=0, split="datasets")) == (list(range(9)), [])


def test_an_example_may_say_how_it_is_read(tiny_model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    prompt, answer = "one two three four five six seven eight nine ten", " Madrid Paris"
    whole = tokenizer(prompt + answer)["input_ids"]
    assert whole[0] == tokenizer.bos_token_id
    [bare] = tokenise(tokenizer, [Example(prompt, answer, bos=False)], 99, "answer")
    assert bare.tokens == tuple(whole[1:])
    assert list(bare.tokens[bare.first :]) == tokenizer(answer, add_special_tokens=False)["input_ids"]
    length = bare.targets + 3
    [left] = tokenise(tokenizer, [Example(prompt, answer, max_length=length)], 99, "answer")
    assert (left.tokens, left.first, left.truncated) == (tuple(whole[-length:]), 3, True)
    cut = len(whole) - 1
    [right] = tokenise(tokenizer, [Example(prompt, answer, max_length=cut, truncation="right")], 99, "answer")
    assert (right.tokens, right.targets, right.truncated) == (tuple(whole[:-1]), bare.targets - 1, True)
    [text] = tokenise(
        tokenizer, [Example(prompt, answer, loss_on="all", max_length=6, truncation="right")], 99, "answer"
    )
    assert (text.tokens, text.first) == (tuple(whole[:6]), 1)
    with pytest.raises(BadData, match="no token left of its answer"):
        tokenise(tokenizer, [Example(prompt, answer, max_length=6, truncation="right")], 99, "answer")


def test_order_is_by_seed_and_epoch() -> None:
    first = steps(range(10), 4, seed=1, epoch=0)
    assert [len(step) for step in first] == [4, 4, 2]
    assert sorted(i for step in first for i in step) == list(range(10))
    assert steps(range(10), 4, seed=1, epoch=0) == first
    assert steps(range(10), 4, seed=1, epoch=1) != first
    assert steps(range(10), 4, seed=2, epoch=0) != first
