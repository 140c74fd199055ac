"""Rows: sharing loses nothing, and every node sees itself and its ancestors alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from evaluators.forward.engine import Engine
from evaluators.forward.rows import Request, Row, plain_rows, shared_rows

TOKENS = st.lists(st.integers(3, 8), min_size=2, max_size=12)  # few distinct tokens: many common beginnings
REQUESTS = st.lists(
    TOKENS.flatmap(lambda t: st.integers(1, len(t) - 1).map(lambda n: Request(tuple(t), n))), min_size=1, max_size=7
)


def read_back(row: Row) -> list[tuple[int, list[tuple[int, ...]], list[int]]]:
    """(request number, the text read before each scored token, the scored tokens) as attention would have it."""
    node = np.arange(len(row))
    found = []
    for number in sorted(set(row.owner_S.tolist())):
        own = row.owner_S == number
        before = []
        for at in row.at_S[own]:
            seen = node[(node <= at) & (at < row.end_N)]
            assert row.depth_N[seen].tolist() == list(range(len(seen)))
            before.append(tuple(row.tokens_N[seen].tolist()))
        found.append((number, before, row.want_S[own].tolist()))
    return found


def expected(number: int, request: Request) -> tuple[int, list[tuple[int, ...]], list[int]]:
    first = len(request.tokens) - request.n_scored
    return number, [request.tokens[:i] for i in range(first, len(request.tokens))], list(request.tokens[first:])


@settings(max_examples=150)
@given(REQUESTS, st.integers(1, 40))
def test_rows_hold_every_request_exactly(requests: list[Request], cap: int) -> None:
    owners = range(len(requests))
    wanted = [expected(number, request) for number, request in enumerate(requests)]
    shared, plain = shared_rows(requests, owners, cap), plain_rows(requests, owners)
    for rows in (shared, plain):
        assert sorted(entry for row in rows for entry in read_back(row)) == sorted(wanted)
    assert all(row.is_chain for row in plain)
    assert all(len(row) <= cap or len(set(row.owner_S.tolist())) == 1 or row.is_chain for row in shared)


def test_a_prompt_is_read_once_and_one_token_options_cost_nothing() -> None:
    prompt = tuple(range(10, 30))
    one_token = [Request((*prompt, option), 1) for option in (3, 4, 5, 6)]
    (row,) = shared_rows(one_token, range(4), 512)
    assert len(row) == len(prompt)
    assert row.is_chain
    assert [len(r) for r in plain_rows(one_token, range(4))] == [len(prompt)]
    longer = [Request((*prompt, option, 7, 8), 3) for option in (3, 4, 5, 6)]
    (row,) = shared_rows(longer, range(4), 512)
    assert len(row) == len(prompt) + 4 * 2
    assert sum(len(r) for r in plain_rows(longer, range(4))) == 4 * (len(prompt) + 2)


@pytest.fixture(scope="module")
def model(outspoken_model: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(outspoken_model, dtype=torch.float32).eval()


@settings(max_examples=25)
@given(REQUESTS, st.integers(8, 200))
def test_shared_and_plain_equal_one_by_one(model: torch.nn.Module, requests: list[Request], budget: int) -> None:
    lls, greedy = [], []
    for request in requests:
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([request.tokens[:-1]])).logits[0, -request.n_scored :], -1)
        want = torch.tensor(request.tokens[-request.n_scored :])
        lls.append(float(logprobs.gather(1, want[:, None]).sum()))
        greedy.append(bool((logprobs.argmax(-1) == want).all()))
    owners = range(len(requests))
    for rows in (shared_rows(requests, owners, 40), plain_rows(requests, owners)):
        ours, ours_greedy = Engine(model, budget).loglikelihoods(rows, len(requests))
        assert ours == pytest.approx(lls, abs=1e-4)
        assert ours_greedy.tolist() == greedy


def test_out_of_memory_halves_the_budget_and_loses_nothing(model: torch.nn.Module) -> None:
    requests = [Request(tuple(3 + (i * j) % 7 for j in range(1, 12)), 3) for i in range(1, 40)]
    rows = plain_rows(requests, range(len(requests)))
    right, _ = Engine(model, 4096).loglikelihoods(rows, len(requests))

    def small_device(_: object, __: object, arguments: dict[str, torch.Tensor]) -> None:
        if arguments["input_ids"].numel() > 50:
            raise torch.OutOfMemoryError("this device holds 50 tokens")

    hook = model.register_forward_pre_hook(small_device, with_kwargs=True)
    try:
        engine = Engine(model, 4096)
        ours, _ = engine.loglikelihoods(rows, len(requests))
        assert ours == pytest.approx(right, abs=1e-4)
        assert engine.budget <= 100
        too_long = [Request(tuple(range(3, 80)), 2)]
        with pytest.raises(torch.OutOfMemoryError):
            engine.loglikelihoods(plain_rows(too_long, [0]), 1)
    finally:
        hook.remove()
