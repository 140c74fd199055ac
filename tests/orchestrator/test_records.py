"""Which records of failures a run clears: what it decides anew, and nothing that it leaves alone."""

from __future__ import annotations

from pathlib import Path

from orchestrator.planning.grid import Grid
from orchestrator.planning.plan import Plan, plan, without
from orchestrator.planning.survey import broken_id
from orchestrator.records import outdated
from study.cells import Cell
from study.config.file import parse
from study.store.records import FailureRecord
from study.store.store import Store
from study.units import AdapterUnit, ScoreUnit, failure_of
from tests.orchestrator.planning.test_plan import TEXT, grid_of, scores_of
from tests.support.rows import score_row


def record(store: Store, unit: AdapterUnit | ScoreUnit, kind: str) -> str:
    store.put_failure(failure_of(unit, kind, "", 1))
    return unit.unit_id


def record_broken(store: Store, role: str, cell: str) -> str:
    store.put_failure(FailureRecord(broken_id(role, cell), f"{role} {cell}", "bad_data", "", 1))
    return broken_id(role, cell)


def todo_of(store: Store, grid: Grid, left: set[str]) -> Plan:
    failures = {unit_id: failure.unit for unit_id, failure in store.failures().items() if unit_id in left}
    return without(plan(grid, store.trained(), store.scored()), failures)[0]


def test_a_narrower_run_clears_what_it_decides_anew_alone(tmp_path: Path) -> None:
    store, config = Store(str(tmp_path)), parse(TEXT)
    everything = grid_of(config)
    mine, others = ([a for a in everything.adapters if a.seed == seed] for seed in (1, 2))
    tried = record(store, mine[0], "transient")
    left = record(store, mine[1], "nan")
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
    cleared = outdated(store, todo_of(store, grid_of(narrow), {left}), narrow)
    assert cleared == {tried, tried_score, done, broken}
    assert store.failures().keys() - cleared == {left, *not_asked_for}


def test_a_cell_that_cannot_be_had_for_now_clears_nothing_of_its_units(tmp_path: Path) -> None:
    store, config, gone = Store(str(tmp_path)), parse(TEXT), Cell("arc", "en")
    of_gone = {unit.unit_id: unit for unit in grid_of(config).adapters if gone in unit.source.cells}
    for unit in of_gone.values():
        record(store, unit, "nan")
    assert of_gone
    assert outdated(store, todo_of(store, grid_of(config, broken=(gone,)), set(of_gone)), config) == set()
