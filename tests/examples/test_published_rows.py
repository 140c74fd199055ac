"""The published study's rows, as its tasks read them."""

from __future__ import annotations

import datasets
import pytest
from lm_eval.tasks.okapi.arc_multilingual.utils import process_docs as arc
from lm_eval.tasks.okapi.truthfulqa_multilingual.utils import process_docs as truthfulqa

from tests.support.published import rows
from tests.support.tiny_world import REPOSITORY

PRESET = REPOSITORY / "examples" / "donors_and_recipients" / "study.yaml"


def test_what_is_scored_is_what_lm_eval_makes_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PRESET.parent / "tasks"))
    import utils  # the preset's

    made = datasets.Dataset.from_list(rows("arc_challenge", "en", "test", 20))
    mine, theirs = utils.process_arc(made), arc(made)
    assert [mine[name] for name in ("query", "choices", "gold")] == [
        theirs[name] for name in ("query", "choices", "gold")
    ]
    assert utils.process_arc(made.map(lambda _: {"answer": "1"}))["gold"] == [-1] * 20  # a hidden label, not an error
    made = datasets.Dataset.from_list(rows("truthfulqa", "en", "test", 20))
    mine, theirs = utils.process_truthfulqa(made), truthfulqa(made)
    assert [mine[name] for name in theirs.column_names] == [theirs[name] for name in theirs.column_names]
