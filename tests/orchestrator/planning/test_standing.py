"""What a store says of its study, held to what planning says of it; and how long the rest will take."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.costs.remaining import seconds_left
from orchestrator.failures import lasting
from orchestrator.planning.grid import Grid, expand
from orchestrator.planning.plan import plan, without
from orchestrator.planning.standing import Tally, of_plan, of_store
from study.cells import Source
from study.config.file import parse
from study.faults.kinds import BAD_DATA, NAN, NODE_LOST
from study.store.layout import RECORD_FILE
from study.store.records import FailureRecord, StoredAdapter, StoredModel, StudyFile
from study.store.store import Store
from study.units import AdapterUnit, GivenAdapter, ScoreUnit, failure_of
from tests.orchestrator.planning.test_plan import TEXT, grid_of, model, scores_of
from tests.support.rows import record_text

GIVEN = GivenAdapter("fedcba9876543210", "a", "known", None, "/nowhere")
STUDY = StudyFile(
    {"training": {"resources_per_worker": {"GPU": 1}}, "evaluators": {"resources": {"GPU": 0.5}}},
    (StoredModel("a", params=12, embedded=2), StoredModel("b", params=50, embedded=20)),
    (StoredAdapter(GIVEN.name, GIVEN.adapter_id),),
)


def put_record(
    store: Store, unit: AdapterUnit, seconds: float = 1.0, device: str = "NVIDIA H100", world: int = 1
) -> None:
    record = record_text(unit.adapter_id, model=unit.model, seconds=seconds, device=device, world_size=world)
    store.write(f"{unit.folder}/{RECORD_FILE}", record)


def put_score(store: Store, unit: ScoreUnit, seconds: float = 1.0, device: str = "cuda:0") -> None:
    row = {
        **unit.keys(), "subject_id": unit.subject_id, "target_id": unit.target_id, "value": 0.5, "stderr": None,
        "n_items": 1, "seconds": seconds, "tokens": 1, "device": device, "engine": "",
        "base_compared": None, "day_fixed": None,
        "higher_is_better": None, "headline": None, "replicates": None, "written_at": datetime.now(UTC),
    }  # fmt: skip
    store.append([], [{**row, "metric": metric} for metric in ("acc", "acc_norm")])


def grid_with_given() -> Grid:
    config = parse(TEXT)
    sources = {source: [str(source)] for source in config.source_list()}
    targets = {cell: str(cell) for cell in config.target_list()}
    return expand(config, [model("a"), model("b")], sources, targets, [GIVEN])


@pytest.mark.parametrize("seed", range(5))
def test_a_store_counts_as_the_plan_does(tmp_path: Path, seed: int) -> None:
    chance, grid, store = random.Random(seed), grid_with_given(), Store(str(tmp_path))
    store.write_grid(*grid.tables())
    older = grid_of(parse(TEXT, ["recipe.epochs=1"]))
    for unit in (*chance.sample(grid.adapters, 6), *older.adapters[:3]):
        put_record(store, unit)
    for score in (*chance.sample(scores_of(grid), 30), *chance.sample(scores_of(older)[4:20], 5)):
        put_score(store, score)
    for failing in (*chance.sample(grid.adapters, 4), *chance.sample(scores_of(grid), 12)):
        kind = chance.choice([NAN, BAD_DATA, NODE_LOST])
        store.put_failure(failure_of(failing, kind, "", 1))
    store.put_failure(FailureRecord("0", "target arc/fr", BAD_DATA, "", 1))
    failed = lasting(store.failures())
    todo, _ = without(plan(grid, store.trained(), store.scored()), failed)
    rows, left = of_store(store)
    assert rows == of_plan(todo)
    assert any(row.scores.failed for row in rows)
    assert (int(left.train.sum()), int(left.score.sum())) == (len(todo.train), todo.n_scores)
    for row, of in zip(rows, (8, 8), strict=True):
        assert row.adapters.done + row.adapters.failed + row.adapters.to_do == of


def test_what_is_left_takes_what_its_like_has_taken(tmp_path: Path) -> None:
    grid, store = grid_of(parse(TEXT, ["seeds=[1]"])), Store(str(tmp_path))
    store.write_grid(*grid.tables())
    rows, left = of_store(store)
    assert rows[0].scores == Tally(0, 0, 0, 20)
    assert seconds_left(store, STUDY, left) == {"a": None, "b": None}
    first, second = (unit for unit in grid.adapters if unit.model == "a" and unit.source.task == "arc")
    put_record(store, first, seconds=10, world=2)
    put_record(store, second, seconds=40)
    put_record(store, grid_of(parse(TEXT, ["recipe.epochs=1"])).adapters[0], seconds=10_000)  # of an older config
    base = [unit for unit in scores_of(grid) if unit.model == "a"][:2]
    put_score(store, base[0], seconds=4)
    put_score(store, base[1], seconds=8)
    put_score(store, base[1], seconds=10_000, device="cpu")  # on what is asked for no more
    found = seconds_left(store, STUDY, of_store(store)[1])
    trained, scored = 30, 0.5 * (4 * 4 + 4 * 8 + 10 * 6)  # seen targets by what they took, the others by the mean
    assert found["a"] == pytest.approx(2 * trained + scored)
    assert found["b"] == pytest.approx((4 * 30 + 20 * 0.5 * 6) * 30 / 10)  # by parameters outside the embeddings


def test_sources_of_several_cells_are_named_as_the_grid_names_them(tmp_path: Path) -> None:
    config = parse(TEXT, ["sources=[[arc/en, mmlu/de]]", "seeds=[1]", "models=[{id: a}]"])
    grid, store = grid_of(config), Store(str(tmp_path))
    store.write_grid(*grid.tables())
    (unit,) = grid.adapters
    assert len(Source.of(config.source_list()[0].cells).cells) == 2
    score = next(one for one in scores_of(grid) if one.adapter is not None)
    put_record(store, unit)
    store.put_failure(failure_of(score, NAN, "", 1))
    ((row,), _) = of_store(store)
    assert (row.adapters, row.scores) == (Tally(1, 0, 0, 0), Tally(0, 0, 1, 7))
