"""Tokens are counted without a model as it learns from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from orchestrator.costs.tokens import counter_of, of_source
from study.config import Recipe
from study.data.example import Example
from study.errors import ConfigError
from study.models.resolve import Model
from trainers.data import tokenise


def test_tokens_are_counted_as_training_counts_them(tmp_path: Path) -> None:
    """Whatever a tokenizer's file says of padding and length; cut at the recipe's length, as the recipe says."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=50)
    tokenizer.enable_truncation(max_length=3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    counter = counter_of(Model("m", str(tmp_path), None, "m", "float32", "m", 1.0, 10, False, ()))
    assert counter.exact
    assert counter.count(["a a a a a", "a"]) == [5, 1]
    examples = [Example("a a a a", " a"), Example("a", " a")]
    found = of_source(counter, examples, Recipe.model_validate({"epochs": 3, "max_length": 4}))
    assert (found.learned, found.read, found.train, found.validation) == (18, 18, 2, 0)
    own = of_source(counter, [Example("a a a a", " a", max_length=3), *examples[1:]], Recipe(epochs=1))
    assert own.learned == 3 + 2


def test_rows_of_texts_and_conversations_are_counted_as_they_are_learned(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1, "[END]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    counter = counter_of(Model("m", str(tmp_path), None, "m", "float32", "m", 1.0, 10, False, ()))
    texts = [Example("", "a " * n, format="text", append_eos=ends) for n in (5, 9, 20, 40) for ends in (True, False)]
    rows = tokenise(PreTrainedTokenizerFast(tokenizer_object=words, eos_token="[END]"), texts, 10, "all")
    found = of_source(counter, texts, Recipe.model_validate({"epochs": 1, "max_length": 10}))
    assert len(rows) > len(texts)
    assert (found.train + found.validation, found.cut) == (len(rows), 0)
    assert found.read == sum(len(row.tokens) for row in rows)
    turns = [{"role": "user", "content": "a a a"}, {"role": "assistant", "content": "a a"}]
    chat = Example("", json.dumps({"messages": turns, "after": None}), format="messages")
    found = of_source(counter, [chat], Recipe.model_validate({"epochs": 1, "max_length": 10}))
    assert (found.learned, found.cut) == (5, 0)


def test_a_tokenizer_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"its tokenizer\.json cannot be used"):
        counter_of(Model("m", str(tmp_path), None, "m", "float32", "m", 1.0, 10, False, ()))
