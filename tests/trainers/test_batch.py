"""Dealing a gang's rows to micro-batches and processes, and what a micro-batch holds."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.batch import Batching, GangRow, collate, deal, joined, packed
from trainers.data import Row

CPU = torch.device("cpu")


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


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(2, 30)), min_size=1, max_size=30),
    st.integers(2, 30) | st.none(),
)
def test_texts_of_a_row_are_of_one_member_and_weight_and_what_they_were(
    gang: list[tuple[int, bool, int]], turn: int | None
) -> None:
    rows = [
        GangRow(slot, Row((n,) * length, length // 2 + 1 if length > 2 else 1, False), 0.5 + light, n)
        for n, (slot, light, length) in enumerate(gang)
    ]
    found, seen = packed(rows, turn), set[int]()
    for one in found:
        tokens, start = one.row.tokens, 0
        assert len(tokens) <= max(len(row.row.tokens) for row in rows)
        places = []
        for length, stream in one.texts or [(len(tokens), one.stream)]:
            own = rows[stream]
            assert (own.slot, own.weight) == (one.slot, one.weight)
            assert tokens[start : start + length] == own.row.tokens
            assert turn is None or (length > turn) == (len(tokens) > turn)
            places += [start + place for place in own.row.places]
            start += length
            seen.add(stream)
        assert (start, places) == (len(tokens), list(one.row.places))
    assert seen == set(range(len(rows)))
    spare = [
        (row.slot, row.weight, len(row.row.tokens))
        for row in found
        if 2 * len(row.row.tokens) <= len(rows[0].row.tokens)
    ]
    assert turn is not None or len(spare) == len({spare_of[:2] for spare_of in spare})  # two such would share one


def test_texts_of_a_row_begin_anew() -> None:
    texts = [GangRow(1, Row((10, 11, 12), 2, False), 0.5, 7), GangRow(1, Row((20, 21), 1, False), 0.5, 8)]
    batch = collate([joined(texts), GangRow(2, Row((30, 31, 32, 33, 34, 35), 5, False), 1.0, 9)], 0, 0.1, CPU)
    assert batch.inputs.keys() == {"input_ids", "position_ids", "use_cache"}
    assert batch.input_ids.tolist() == [[10, 11, 12, 20, 21, 0], [30, 31, 32, 33, 34, 35]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]
    assert batch.dropout.keys.tolist() == [[7, 7, 7, 8, 8, 0], [9] * 6]
    assert batch.input_ids.flatten()[batch.positions].tolist() == [11, 20, 34]
    assert batch.targets.tolist() == [12, 21, 35]


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
