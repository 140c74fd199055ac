"""What becomes of a gang, through what Tune takes of it."""

from __future__ import annotations

import json

import pytest

from orchestrator.training.outcome import GangEnded, GangMoved, Trained, as_result, of_result
from study.store.records import FailureRecord

FAILED = (FailureRecord("id", "m/arc/[en]/17", "nan", "loss is nan", 1, subject_id="id"),)


@pytest.mark.parametrize(
    "outcome",
    [
        GangEnded((Trained("a", 10, 1.5, 0.3, None),), FAILED, ("node", "node")),
        GangMoved({"node_lost": 2}, FAILED, ("node",)),
        GangEnded(),
    ],
)
def test_an_outcome_is_the_same_on_the_other_side_of_tune(outcome: GangEnded | GangMoved) -> None:
    """Which writes results down as JSON, and keeps forever what it cannot write."""
    written = json.loads(json.dumps({"done": True, **as_result(outcome)}))
    assert of_result({**written, "trial_id": "x", "date": "y"}) == outcome
