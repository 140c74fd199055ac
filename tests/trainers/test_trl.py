"""Rows as tokens and masks, beside what TRL's own trainer made of them (`recorded/trl.py` says by which release).

Of a chat template that marks nothing as the assistant's TRL takes a variant of its own, which may write another text
(qwen3's thinks in every turn) or count a line break beside a turn in (qwen2.5, gemma3). The study's is the model's own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from study.config import TrainOverride
from study.data.formats import formatted
from tests.trainers.recorded.rows import CHATS, recorded, rows_of, tokenizer_of
from trainers.data import BadData, tokenise

RECORDED = recorded()
FORMATS = {"messages": "messages", "turns": "prompt_completion", "pairs": "prompt_completion", "text": "text"}
UNMARKED = [one for one in RECORDED["templates"] if not one.endswith("+marks")]
ENDS = {"qwen2_5": "<|im_end|>", "qwen3": "<|im_end|>", "llama3": "<|eot_id|>", "gemma3": "<end_of_turn>"}


def is_of_another_template(case: dict[str, Any]) -> bool:
    return bool(case.get("assistant_only_loss")) and case["template"] in UNMARKED


CASES = [case for case in RECORDED["rows"] if not is_of_another_template(case)]


@cache
def tokenizer(template: str) -> Any:
    found = RECORDED["templates"][template]
    return tokenizer_of(found["family"], found["text"])


def ours(case: dict[str, Any], number: int) -> tuple[list[int], list[int]] | None:
    """The same row as a study learns it: tokens, and which count; None where nothing of it is left to learn."""
    all_of_it = case["kind"] == "messages" and not case.get("assistant_only_loss")
    train = TrainOverride[str](
        format=FORMATS[case["kind"]],
        loss_on="all" if all_of_it or case.get("completion_only_loss") is False else None,
        truncation="right" if case.get("truncation_mode") == "keep_start" else "left",
    )
    example = formatted(rows_of(case["kind"])[number], train)
    assert example is not None
    try:
        [row] = tokenise(tokenizer(case["template"]), [example], case["max_length"] or 1000, "answer")
    except BadData:
        return None
    return list(row.tokens), list(row.places)


def trls(made: dict[str, Any] | None) -> tuple[list[int], list[int]] | None:
    """What TRL made of it; the first token is predicted from nothing, whatever its label says."""
    learned = [place for place, one in enumerate(made["learned"]) if one == "1" and place > 0] if made else []
    return (made["tokens"], learned) if made and learned else None


@pytest.mark.parametrize(
    ("template", "kind"), dict.fromkeys((case["template"], case["kind"]) for case in CASES if case["kind"] != "text")
)
def test_a_row_is_trls(template: str, kind: str) -> None:
    for case in CASES:
        if (case["template"], case["kind"]) == (template, kind):
            for number, made in enumerate(case["made"]):
                assert ours(case, number) == trls(made), (number, case | {"made": ...})


def test_a_short_text_is_trls_behind_a_token_that_begins_it() -> None:
    cases = [case for case in CASES if case["kind"] == "text" and case["max_length"] is None]
    assert len(cases) == len(UNMARKED)
    for case in cases:
        reads = tokenizer(case["template"])
        for number, made in enumerate(case["made"]):
            first = [] if reads.bos_token_id is not None else [reads.eos_token_id]
            assert ours(case, number) == ([*first, *made["tokens"]], list(range(1, len(first) + len(made["tokens"]))))


@pytest.mark.parametrize("template", UNMARKED)
def test_where_nothing_is_marked_what_the_assistant_says_is_learned_and_what_ends_its_turn(template: str) -> None:
    [case] = [
        one
        for one in RECORDED["rows"]
        if is_of_another_template(one) and one["template"] == template and one["max_length"] is None
    ]
    [whole] = [
        one for one in CASES if (one["template"], one["kind"], one["max_length"]) == (template, "messages", None)
    ]
    for number, made in enumerate(case["made"]):
        found, reads = ours(case, number), tokenizer(template)
        assert found is not None
        assert found[0] == whole["made"][number]["tokens"]  # of the model's own template
        said = reads.decode([found[0][place] for place in found[1]]).split(ENDS[template])
        assert said.pop() == ""
        own = [turn["content"] for turn in CHATS[number] if turn["role"] == "assistant"]
        assert [one.rpartition("</think>")[2].strip() for one in said] == [one.strip() for one in own]
        if template != "qwen3":
            tokens, learned = trls(made) or ([], [])
            assert tokens == found[0]
            assert set(found[1]) <= set(learned)
            assert reads.decode([tokens[place] for place in learned if place not in found[1]]).strip() == ""
