"""Dealing a gang's rows to micro-batches and processes, and what a micro-batch holds."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.batch import Batching, GangRow, collate, deal
from trainers.data import Row


def row(slot: int, length: int, first: int = 1, name: int = 5) -> GangRow:
    return GangRow(slot, Row((name,) * length, first, False), 0.5, 0)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(2, 30)), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(1, 100),
    st.integers(0, 50),
    st.integers(1, 4),
)
def test_dealing_loses_no_row_and_keeps_processes_in_step(
    gang: list[tuple[int, int]], micro_batch: int, tokens: int, worth: int, world_size: int
) -> None:
    rows = [row(slot, length, name=number) for number, (slot, length) in enumerate(gang)]
    dealt = deal(rows, Batching(micro_batch, tokens, worth, 0), world_size)
    assert len(dealt) == world_size
    assert len({len(micro_batches) for micro_batches in dealt}) == 1
    flat = [rows for micro_batches in dealt for rows in micro_batches]
    for rows_together in flat:
        assert len(rows_together) <= micro_batch
        longest = max((len(r.row.tokens) for r in rows_together), default=0)
        assert len(rows_together) <= 1 or len(rows_together) * longest <= tokens
        assert sum(longest - len(r.row.tokens) for r in rows_together) <= worth * world_size
        assert [r.slot for r in rows_together] == sorted(r.slot for r in rows_together)
    seen = [r for rows_together in flat for r in rows_together]
    assert sorted(r.row.tokens[0] for r in seen) == list(range(len(rows)))


def test_a_row_that_turns_the_positions_of_others_stands_with_its_like() -> None:
    rows = [row(slot, length) for slot, length in enumerate((9, 30, 12, 13, 11, 40))]
    (dealt,) = deal(rows, Batching(8, 1000, 1000, 0, turn=12), 1)
    assert [sorted(len(r.row.tokens) for r in together) for together in dealt] == [[13, 30, 40], [9, 11, 12]]


def test_targets_are_what_comes_after_their_positions() -> None:
    rows = [GangRow(1, Row((10, 11, 12, 13), 2, False), 0.5, 7), GangRow(3, Row((20, 21), 1, False), 1.0, 8)]
    batch = collate(rows, 0, 0.0, torch.device("cpu"))
    assert batch.slots == (1, 3)
    assert batch.dropout is None
    assert batch.input_ids.tolist() == [[10, 11, 12, 13], [20, 21, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.input_ids.flatten()[batch.positions].tolist() == [11, 12, 20]
    assert batch.targets.tolist() == [12, 13, 21]
    assert batch.weights.tolist() == [0.5, 0.5, 1.0]


def test_a_process_without_rows_still_takes_part() -> None:
    batch = collate([], 0, 0.1, torch.device("cpu"))
    assert batch.input_ids.shape == (1, 2)
    assert batch.weights.tolist() == [0.0]
