"""Small files as values: what they lack is damage or has a default, what only others know is passed over."""

from __future__ import annotations

import json

import pytest

from study.cells import Cell, Source
from study.store.contents import Damaged
from study.store.course import Epoch
from study.store.records import TRAINED, AdapterRecord, FailureRecord, StudyFile
from study.units import AdapterUnit, ScoreUnit, failure_of
from tests.support.rows import record_of

UNIT = AdapterUnit("id", "m", Source.of([Cell("t", "en")]), 17)
LEAST = {key: value for key, value in record_of("a").to_json().items() if key in TRAINED}


def test_a_record_becomes_the_mapping_it_was_read_from() -> None:
    epoch = {"epoch": 1, "train_loss": 2.0, "validation_loss": None, "learning_rate": 0.1}
    record = record_of("a", epochs=[epoch], best_epoch=1)
    assert record.course.best == Epoch(1, 2.0, None, 0.1)
    assert AdapterRecord.from_bytes(json.dumps(record.to_json())) == record
    assert AdapterRecord.from_bytes(json.dumps({**record.to_json(), "of a newer release": 1})) == record


def test_a_record_of_an_older_release_has_defaults() -> None:
    record = AdapterRecord.from_bytes(json.dumps(LEAST), "adapters/m/t/en/seed17-a")
    assert (record.seed, record.course.best, record.course.epochs, record.conditions.gang_size) == (None, None, (), 1)
    assert (record.adapter_id, record.folder) == ("a", "adapters/m/t/en/seed17-a")


@pytest.mark.parametrize("key", TRAINED)
def test_a_record_without_what_readers_need_is_damaged(key: str) -> None:
    with pytest.raises(Damaged, match=f"it states no {key}"):
        AdapterRecord.from_bytes(json.dumps({name: value for name, value in LEAST.items() if name != key}))


@pytest.mark.parametrize("wrong", [{"tokens": {"useful": 1}}, {"files": {"a": {}}}, {"examples": 3}, {"source": None}])
def test_a_record_of_another_make_is_damaged(wrong: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        AdapterRecord.from_bytes(json.dumps({**LEAST, **wrong}))


def test_a_failure_says_which_unit_it_is() -> None:
    score = ScoreUnit("score", "id", "target", "m", 1, UNIT, Cell("t", "en"))
    for unit, ids in ((UNIT, ("id", "id", None)), (score, ("score", "id", "target"))):
        failure = failure_of(unit, "nan", "loss is nan", 1)
        assert (failure.unit_id, failure.subject_id, failure.target_id) == ids
        assert FailureRecord.from_bytes(json.dumps(failure.to_json()).encode(), unit.unit_id) == failure
    older = FailureRecord.from_bytes(b'{"unit": "m/t/[en]/17", "kind": "bug", "attempts": 1, "message": ""}', "id")
    assert (older.unit_id, older.subject_id, older.target_id, older.failed_at) == ("id", None, None, "")


def test_a_study_file_answers_what_readers_ask() -> None:
    text = b"""
config: {study: s, training: {resources_per_worker: {GPU: 0.5}}, evaluators: null, of a newer release: 1}
models: [{name: a, params: 12, embedded: 2}, {name: of an older release, params: 5}]
adapters: [{name: given, adapter_id: x}]
"""
    study = StudyFile.from_bytes(text)
    assert (study.name, study.is_trial_run, study.bodies) == ("s", False, {"a": 10})
    assert (study.trainer_resources, study.evaluator_resources) == ({"GPU": 0.5}, {})
    assert (study.adapters[0].name, study.models[1].identity, study.commit) == ("given", None, None)
    assert StudyFile.from_bytes(b"config: {}") == StudyFile({})
