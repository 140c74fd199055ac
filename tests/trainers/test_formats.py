"""Texts, completions and conversations as tokens and masks: token by token those of TRL's trainer.

What TRL does is written out here as its `SFTTrainer._prepare_dataset` has it, with transformers' own calls: EOS after a
text or a completion, the completion from where the prompt alone ends, `return_assistant_tokens_mask`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from study.data.example import Example
from tests.support.families import SPECIAL, TURNS, make_tokenizer
from trainers.chat import BadChat, conversation
from trainers.data import BadData, tokenise, with_cuts
from trainers.texts import LEAST, chunks, cut

CHATS = [
    [("user", "Is Wien the capital?"), ("assistant", "Wien is."), ("user", "And Paris?"), ("assistant", "It is, too.")],
    [("system", "Be brief."), ("user", "Paris?"), ("assistant", "Yes\nindeed")],
    [("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c")],
]
FAMILIES = list(SPECIAL)
PLAIN = make_tokenizer(FAMILIES[0])


def turns(chat: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in chat]


def template(family: str, marked: bool) -> str:
    begin, end, first = TURNS[family]
    said = "{{ m['content'] }}" + end.rstrip("\n")
    rest = end[len(end.rstrip("\n")) :]
    learned = "{% generation %}" + said + "{% endgeneration %}" if marked else said
    asked = begin.replace("{{ m['role'] }}", "assistant")
    return (
        f"{first}{{% for m in messages %}}{begin}{{% if m['role'] == 'assistant' %}}{learned}{{% else %}}{said}"
        f"{{% endif %}}{rest}{{% endfor %}}{{% if add_generation_prompt %}}{asked}{{% endif %}}"
    )


@pytest.fixture(params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    made = make_tokenizer(request.param)
    made.family = request.param
    return made


def example(chat: list[tuple[str, str]], after: int | None = None) -> Example:
    return Example("", json.dumps({"messages": turns(chat), "after": after}), format="messages")


@pytest.mark.parametrize("chat", CHATS)
def test_a_conversation_is_learned_where_the_template_marks_the_assistant(tokenizer: Any, chat: Any) -> None:
    tokenizer.chat_template = template(tokenizer.family, marked=True)
    expected = tokenizer.apply_chat_template(
        turns(chat), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    assert sum(expected["assistant_masks"]) > 0
    for marked in (True, False):  # where it marks nothing, the turns are found in the text
        tokenizer.chat_template = template(tokenizer.family, marked)
        tokens, mask = conversation(tokenizer, example(chat).answer)
        assert tokens == expected["input_ids"]
        assert [int(one) for one in mask] == expected["assistant_masks"]
        [row] = tokenise(tokenizer, [example(chat)], 1000, "answer")
        assert list(row.places) == [place for place, one in enumerate(expected["assistant_masks"]) if one]
        assert row.targets == sum(expected["assistant_masks"])
        [whole] = tokenise(tokenizer, [example(chat)], 1000, "all")
        assert whole.targets == len(tokens) - 1


def test_a_conversational_completion_is_learned_after_its_prompt(tokenizer: Any) -> None:
    tokenizer.chat_template = template(tokenizer.family, marked=False)
    prompt = tokenizer.apply_chat_template(
        turns(CHATS[0][:3]), tokenize=True, return_dict=True, add_generation_prompt=True
    )["input_ids"]
    whole = tokenizer.apply_chat_template(turns(CHATS[0]), tokenize=True, return_dict=True)["input_ids"]
    [row] = tokenise(tokenizer, [example(CHATS[0], after=3)], 1000, "answer")
    assert (list(row.tokens), list(row.places)) == (whole, list(range(len(prompt), len(whole))))


@pytest.mark.parametrize(
    ("prompt", "completion"), [("Is Wien the capital?", " It is."), ("Q: ", "Paris"), ("", "Paris")]
)
def test_a_completion_is_trls(tokenizer: Any, prompt: str, completion: str) -> None:
    before = tokenizer(text=prompt)["input_ids"]
    whole = tokenizer(text=f"{prompt}{completion}{tokenizer.eos_token}")["input_ids"]
    for answer in (completion, f"{completion}{tokenizer.eos_token}"):
        pair = Example(prompt, answer, format="prompt_completion", append_eos=True)
        [row] = tokenise(tokenizer, [pair], 1000, "answer")
        assert list(row.tokens) == whole
        assert row.first == max(1, len(before))


def test_a_short_text_is_trls_and_a_long_one_is_cut_into_chunks_of_which_none_is_lost(tokenizer: Any) -> None:
    eos = tokenizer.eos_token_id
    first = eos if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    [row] = tokenise(tokenizer, [Example("", "Wien is", format="text", append_eos=True)], 1000, "answer")
    trl = tokenizer(text=f"Wien is{tokenizer.eos_token}")["input_ids"]
    assert list(row.tokens) == (trl if trl[0] == first else [first, *trl])
    assert row.first == 1
    text = "the capital of Österreich is Wien and of France Paris " * 9
    tokens = tokenizer.encode(text, add_special_tokens=False)
    rows = tokenise(tokenizer, [Example("", text, format="text", append_eos=True)], 32, "answer")
    assert max(len(row.tokens) for row in rows) <= 32
    assert all(row.tokens[0] == first and not row.truncated for row in rows)
    read = [token for row in rows for token in row.tokens[1:]]
    assert read[-1] == eos
    assert read[:-1] == tokens[: len(read) - 1]
    assert len(tokens) - len(read[:-1]) < LEAST


@given(st.integers(1, 400), st.integers(3, 60), st.booleans())
def test_every_token_of_a_text_is_in_one_chunk(count: int, most: int, ends: bool) -> None:
    """But for a remainder too short to learn from; a text that is itself so short is a chunk."""
    tokenizer = PLAIN
    text = " ".join(["Wien"] * count)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    found = [one[1:] for one in chunks(tokenizer, text, most, ends)]
    read = [token for one in found for token in one]
    if ends:
        assert read.pop() == tokenizer.eos_token_id
    assert read == tokens[: len(read)]
    assert len(tokens) - len(read) < LEAST
    assert all(len(one) == most - 1 - ends for one in found[:-1])
    assert len(found) == 1 or len(found[-1]) - ends >= min(LEAST, most - 1 - ends)


@given(st.integers(2, 5000), st.integers(0, 1 << 40), st.integers(0, 1 << 20))
def test_a_cut_is_in_the_middle_half_and_leaves_something_on_both_sides(count: int, seed: int, number: int) -> None:
    found = cut(count, seed, number)
    assert 1 <= found < count
    assert count / 4 <= found <= count * 3 / 4 or count < 3
    assert found == cut(count, seed, number)


def test_a_prefix_is_drawn_by_seed_and_chunk_and_by_nothing_else(tokenizer: Any) -> None:
    texts = ["the capital of Österreich is Wien and of France Paris " * n for n in (9, 5)]
    plain, prefixed = (
        [Example("", text, format="text", append_eos=True, objective=how) for text in texts]
        for how in ("causal", "prefix")
    )
    rows, whole = (tokenise(tokenizer, some, 32, "answer") for some in (prefixed, plain))
    first, other = (with_cuts(rows, seed) for seed in (17, 18))
    assert with_cuts(whole, 17) == list(whole)
    assert [row.tokens for row in first] == [row.tokens for row in whole]
    assert [row.first for row in first] == [cut(len(row.tokens), 17, number) for number, row in enumerate(rows)]
    assert [row.first for row in first] != [row.first for row in other]
    assert len({row.first for row in first}) > 1
    assert with_cuts(tokenise(tokenizer, [*prefixed, *plain], 32, "all"), 17)[: len(first)] == first


def test_templates_of_ones_own_may_end_with_eos(tokenizer: Any) -> None:
    rows = tokenise(tokenizer, [Example("Q:", " Paris", append_eos=ends) for ends in (False, True)], 100, "answer")
    assert rows[1].tokens == (*rows[0].tokens, tokenizer.eos_token_id)
    assert rows[1].first == rows[0].first


def test_templates_that_write_eos_themselves_end_with_one(tokenizer: Any) -> None:
    answers = (" Paris", f" Paris{tokenizer.eos_token}")
    rows = tokenise(tokenizer, [Example("Q:", answer, append_eos=True) for answer in answers], 100, "answer")
    assert rows[0] == rows[1]


def test_a_text_fits_its_length_or_is_bad_data(tokenizer: Any) -> None:
    def cut(most: int, ends: bool) -> list[int]:
        rows = tokenise(tokenizer, [Example("", "Wien is", format="text", append_eos=ends)], most, "answer")
        return [len(row.tokens) for row in rows]

    assert max(cut(3, True)) == 3
    assert max(cut(2, False)) == 2
    for most, ends in ((2, True), (1, True), (1, False)):
        with pytest.raises(BadData, match=f"has no room in max_length {most} beside BOS"):
            cut(most, ends)


@pytest.mark.parametrize("form", ["text", "prompt_completion", None])
def test_a_tokenizer_without_eos_ends_nothing_with_it(form: Any, tokenizer: Any) -> None:
    tokenizer.bos_token, tokenizer.eos_token = tokenizer.bos_token or tokenizer.pad_token, None
    with pytest.raises(BadData, match="is to end with EOS, and the model's tokenizer has none"):
        tokenise(tokenizer, [Example("", "Wien is", format=form, append_eos=True)], 32, "all")


@pytest.mark.parametrize("form", ["text", None])
def test_a_tokenizer_without_bos_and_eos_begins_no_text(form: Any, tokenizer: Any) -> None:
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(BadData, match="is to begin with BOS or EOS, and the model's tokenizer has neither"):
        tokenise(tokenizer, [Example("", "Wien is", format=form)], 32, "all")


def test_a_conversation_that_is_cut_keeps_its_last_answer(tokenizer: Any) -> None:
    tokenizer.chat_template = template(tokenizer.family, marked=False)
    [whole] = tokenise(tokenizer, [example(CHATS[0])], 1000, "answer")
    [row] = tokenise(tokenizer, [example(CHATS[0])], 12, "answer")
    assert row.truncated
    assert row.tokens == whole.tokens[-12:]
    assert [row.tokens[place] for place in row.places] == [
        whole.tokens[place] for place in whole.places if place > len(whole.tokens) - 12
    ]


def test_what_cannot_be_told_apart_is_bad_data(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(BadData, match=r"example 1 of 1 \(messages\): the model's tokenizer has no chat template"):
        tokenise(tokenizer, [example(CHATS[0])], 100, "answer")
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    with pytest.raises(BadChat, match="marks no"):
        conversation(tokenizer, example(CHATS[0]).answer)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(BadChat, match="roles must alternate"):
        conversation(tokenizer, example(CHATS[0]).answer)
