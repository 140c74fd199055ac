"""What a store says against a config before anything is planned, and which of its failures a run clears."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import status
from orchestrator.failures import lasting
from orchestrator.planning.grid import Grid
from orchestrator.planning.names import check_names
from orchestrator.planning.plan import Plan, plan, without
from orchestrator.planning.survey import Broken
from orchestrator.prepare import check_store, outdated, renew_failures, study_file
from study.cells import Cell
from study.config.file import parse
from study.errors import ConfigError
from study.store.layout import STUDY_FILE
from study.store.records import FailureRecord
from study.store.store import Store
from study.store.study_file import write_study
from study.units import AdapterUnit, ScoreUnit, failure_of
from tests.orchestrator.planning.test_plan import TEXT, grid_of, scores_of, trained
from tests.support.rows import score_row


def test_a_renamed_model_is_told_its_name(tmp_path: Path) -> None:
    """By study.yaml, or by its adapters' folders where the last config did not have it."""
    config, store = parse(TEXT), Store(str(tmp_path))
    grid = grid_of(config)
    here = trained(grid)
    check_names(store, grid, here)
    names = {"a": "new", "b": "b"}
    models = tuple(replace(model, name=names[model.name]) for model in grid.models)
    adapters = tuple(replace(unit, model=names[unit.model]) for unit in grid.adapters)
    renamed = replace(grid, models=models, adapters=adapters)
    with pytest.raises(ConfigError, match=r"models\[0\].name = 'new': this store knows the model as a\n.*`name: a`"):
        check_names(store, renamed, here)
    write_study(store, study_file(config, grid))
    check_names(store, grid, {})
    with pytest.raises(ConfigError, match="knows the model as a"):
        check_names(store, renamed, {})


@pytest.mark.parametrize("text", ["", "study: x", "{", "[]"])
def test_a_damaged_study_file_is_a_clear_error(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path))
    assert status.main([store.uri]) == 2
    assert "holds no study" in capsys.readouterr().err
    store.write(STUDY_FILE, text.encode())
    with pytest.raises(ConfigError, match=r"damaged file.*study.yaml.*\n.*study.check"):
        check_store(store, parse(TEXT), dry_run=True)
    assert status.main([store.uri]) == 2
    assert f"python -m study.check {store.uri} --repair" in capsys.readouterr().err


def record(store: Store, unit: AdapterUnit | ScoreUnit, kind: str) -> str:
    store.put_failure(failure_of(unit, kind, "", 1))
    return unit.unit_id


def record_broken(store: Store, role: str, cell: str) -> str:
    broken = Broken(role, cell, "bad_data", "", 1, "").failure
    store.put_failure(broken)
    return broken.unit_id


def to_do_of(store: Store, grid: Grid, kept: set[str]) -> Plan:
    failures = {unit_id: failure for unit_id, failure in store.failures().items() if unit_id in kept}
    return without(plan(grid, store.trained(), store.scored()), failures)[0]


def test_a_narrower_run_clears_what_it_decides_anew_alone(tmp_path: Path) -> None:
    store, config = Store(str(tmp_path)), parse(TEXT)
    everything = grid_of(config)
    mine, others = ([a for a in everything.adapters if a.seed == seed] for seed in (1, 2))
    tried = record(store, mine[0], "transient")
    kept = record(store, mine[1], "nan")
    not_asked_for = {record(store, others[0], "nan"), record(store, others[1], "transient")}
    scores = scores_of(everything)
    of_base = [unit for unit in scores if unit.adapter is None]
    tried_score = record(store, of_base[0], "transient")
    done = record(store, of_base[1], "bug")
    store.append([], [score_row(done, subject_id=of_base[1].subject_id, target_id=of_base[1].target_id, model="a")])
    not_asked_for.add(record(store, next(unit for unit in scores if unit.adapter == others[0]), "bug"))
    broken = record_broken(store, "target", "arc/en")
    not_asked_for.add(record_broken(store, "target", "arc/fr"))
    narrow = parse(TEXT, ["seeds=[1]"])
    cleared = outdated(store, to_do_of(store, grid_of(narrow), {kept}), narrow)
    assert cleared == {tried, tried_score, done, broken}
    assert store.failures().keys() - cleared == {kept, *not_asked_for}


def test_a_cell_that_cannot_be_had_for_now_clears_nothing_of_its_units(tmp_path: Path) -> None:
    store, config, gone = Store(str(tmp_path)), parse(TEXT), Cell("arc", "en")
    of_gone = {unit.unit_id: unit for unit in grid_of(config).adapters if gone in unit.source.cells}
    for unit in of_gone.values():
        record(store, unit, "nan")
    assert of_gone
    assert outdated(store, to_do_of(store, grid_of(config, broken=(gone,)), set(of_gone)), config) == set()


def test_what_is_broken_as_it_was_is_not_written_again(tmp_path: Path) -> None:
    """With another time, the report of a study with one such cell was never as before."""
    store, was = Store(str(tmp_path)), "2026-01-01T00:00:00Z"
    same, other, gone = (Broken("target", f"arc/{name}", "bad_data", "no rows", 1, "").failure for name in "abc")
    for failure in (same, other, gone):
        store.put_failure(replace(failure, failed_at=was))
    now = replace(other, message="no file")
    renew_failures(store, {failure.unit_id for failure in (same, other, gone)}, [same, now])
    found = store.failures()
    assert found == {same.unit_id: same, other.unit_id: now}
    assert [found[failure.unit_id].failed_at == was for failure in (same, other)] == [True, False]


def test_a_failure_of_an_older_release_is_cleared_and_its_unit_tried_again(tmp_path: Path) -> None:
    """Its record names a unit for people alone."""
    store, config = Store(str(tmp_path)), parse(TEXT)
    grid = grid_of(config)
    for unit in (grid.adapters[0], scores_of(grid)[0]):
        store.put_failure(FailureRecord(unit.unit_id, str(unit), "nan", "", 1))
    recorded = store.failures()
    assert lasting(recorded) == {}
    assert outdated(store, to_do_of(store, grid, set()), config) == recorded.keys()
