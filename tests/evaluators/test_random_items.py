"""Random prompts and options: ours beside lm-eval's `hf` model, text in, log-likelihood and greediness out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluators.forward.engine import Engine
from evaluators.forward.rows import plain_rows, shared_rows
from evaluators.items.encoder import Encoder

PIECES = st.sampled_from(
    ["the", " capital", " of", "Answer:", " ", "\n", "é", "数", "<s>", "Haupt", "stadt", "  x", ".", "7"]
)
CONTEXT = st.one_of(
    st.just(""), st.lists(PIECES, max_size=12).map("".join), st.integers(240, 300).map(lambda n: "7" * n)
)
OPTION = st.lists(PIECES, min_size=1, max_size=5).map("".join)


@pytest.fixture(scope="module", params=["bos", "no bos"])
def pair(request: Any, outspoken_model: Path, outspoken_no_bos_model: Path) -> tuple[Encoder, HFLM, Engine]:
    """Our encoder and engine, and lm-eval's class, on one model.

    lm-eval's cache for one-token options is off: it mistakes texts that are equal but split at different points.
    """
    folder = outspoken_model if request.param == "bos" else outspoken_no_bos_model
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    return (
        Encoder(model, tokenizer),
        HFLM(model, tokenizer=tokenizer, logits_cache=False),
        Engine(model, 700),
    )


@settings(max_examples=40)
@given(st.lists(st.tuples(CONTEXT, st.lists(OPTION, min_size=1, max_size=4)), min_size=1, max_size=3))
def test_any_item_scores_as_in_lm_eval(pair: tuple[Encoder, HFLM, Engine], items: list[tuple[str, list[str]]]) -> None:
    encoder, reference, engine = pair
    instances = [
        Instance("loglikelihood", {}, (context, option), 0, ("t", number, 1))
        for number, (context, options) in enumerate(items)
        for option in options
    ]
    # an option that adds no token has no log-likelihood: lm-eval stops there, ours says so for its target
    scorable = [i for i in instances if all(encode(reference, *i.args))]
    if not scorable:
        return
    expected = reference.loglikelihood(scorable, disable_tqdm=True)
    requests = encoder.requests(scorable)
    for rows in (shared_rows(requests, range(len(requests)), 600), plain_rows(requests, range(len(requests)))):
        lls, greedy = engine.loglikelihoods(rows, len(requests))
        assert lls == pytest.approx([ll for ll, _ in expected], abs=1e-3)
        assert greedy.tolist() == [is_greedy for _, is_greedy in expected]


def encode(reference: HFLM, context: str, option: str) -> tuple[list[int], list[int]]:
    """lm-eval's tokens of a request, as its `loglikelihood` makes them."""
    if context:
        return reference._encode_pair(context, option)
    tokens = reference.tok_encode(option, add_special_tokens=False)
    return ([reference.prefix_token_id], tokens) if tokens[0] != reference.prefix_token_id else (tokens[:1], tokens[1:])
