"""Stages in a plan: named by what they begin with, trained after it, lost with it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orchestrator.planning.grid import Grid, expand, placed
from orchestrator.planning.names import check_stages
from orchestrator.planning.plan import followers, plan, without
from orchestrator.planning.standing import of_plan, of_store
from orchestrator.progress.combinations import lines
from orchestrator.scheduling.gangs import Place, gangs, planned
from orchestrator.training.record import stage_of
from study.cells import Cell
from study.config import StudyConfig
from study.config.expansion import learned
from study.config.file import parse
from study.data.example import Example
from study.errors import ConfigError
from study.faults.kinds import NAN, NODE_LOST
from study.store.course import Stage
from study.store.store import Store
from study.units import GivenAdapter, failure_of
from tests.orchestrator.planning.test_plan import TEXT, grid_of, model, scored, scores_of, trained
from tests.orchestrator.planning.test_standing import put_record, put_score

ONE = TEXT.replace("models: [{id: a}, {id: b}]", "models: [{id: a}]")
LINE = "{name: two, cells: arc/en, start_from: mmlu/de}, {name: three, cells: [arc/en, arc/de], start_from: two}"


def config(sources: str = f"arc/en, {LINE}", more: str = "") -> StudyConfig:
    return parse(f"{ONE}{more}sources: [{sources}]")


def ids(found: Grid) -> dict[str, str]:
    return {str(unit.source): unit.adapter_id for unit in found.adapters if unit.seed == 1}


def test_the_start_names_an_adapter_and_its_name_does_not() -> None:
    plain = ids(grid_of(config("arc/en, mmlu/de")))
    found = ids(grid_of(config()))
    assert found.keys() == {"arc/en", "mmlu/de", "arc/en@two", "arc/en+arc/de@three"}
    assert {name: found[name] for name in plain} == plain  # others are what they were
    renamed = ids(grid_of(config(f"arc/en, {LINE}".replace("two", "2nd"))))
    assert set(renamed.values()) == set(found.values())
    other = ids(grid_of(config(f"arc/en, {LINE}".replace("mmlu/de", "mmlu/en"))))
    assert len({*other.values()} & {*found.values()}) == 1  # arc/en: also what begins with the second is another
    assert found["arc/en@two"] not in plain.values()


def test_ids_of_stages_are_stable_over_releases() -> None:
    assert ids(grid_of(config()))["arc/en+arc/de@three"] == "486e54f3ae63b30c"


def test_an_adapter_that_exists_serves_every_seed_of_its_model() -> None:
    stages = "{name: s, cells: arc/en, start_from: chat}, {name: t, cells: arc/de, start_from: s}"
    study = parse(f"{TEXT}adapters: [{{name: chat, model: a, path: /x}}]\nsources: [{stages}]")
    chat = GivenAdapter("fedcba9876543210", "a", "chat", None, "/x")
    sources = {source: [str(cell) for cell in source.cells] for source in learned(study)}
    found = expand(study, [model("a"), model("b")], sources, {Cell("arc", "en"): "x"}, [chat])
    assert {(unit.model, str(unit.source), unit.seed) for unit in found.adapters} == {
        ("a", name, seed) for name in ("arc/en@s", "arc/de@t") for seed in (1, 2)
    }
    assert {unit.start for unit in found.adapters if unit.source.name == "s"} == {chat} == found.given_starts()
    assert plan(found, {}, []).given() == {chat}


def test_what_a_stage_begins_with_is_trained_for_it_and_scored_on_nothing() -> None:
    found = grid_of(config())
    silent = {unit for unit in found.adapters if str(unit.source) == "mmlu/de"}
    assert found.silent == {unit.adapter_id for unit in silent}
    assert not any(part.adapter in silent for part in found.parts())
    everything = plan(found, {}, [])
    assert everything.train == found.adapters
    done = trained(found)
    for unit in silent:
        del done[unit.adapter_id]
    assert plan(found, done, []).train == ()  # nobody waits for it
    for unit in found.adapters:
        if unit.source.name == "three":
            del done[unit.adapter_id]
    assert {str(unit.source) for unit in plan(found, done, []).train} == {"arc/en+arc/de@three"}
    for unit in found.adapters:
        if unit.source.name == "two":
            del done[unit.adapter_id]
    assert {str(unit.source) for unit in plan(found, done, []).train} == {
        "mmlu/de",
        "arc/en@two",
        "arc/en+arc/de@three",
    }
    assert plan(found, {}, scored(scores_of(found))).is_empty
    told = list(lines(found))
    assert told[0] == "stages: 2 sources train on from an adapter"
    assert "  arc/en+arc/de@three begins with arc/en@two" in told
    assert told[-1] == "trained to begin with alone, and scored on nothing: mmlu/de (2 adapters)"


def test_what_fails_takes_along_what_begins_with_it() -> None:
    found = plan(grid_of(config()), {}, [])
    first = found.train[0:1][0]
    assert str(first.source) == "arc/en"
    start = next(unit for unit in found.train if str(unit.source) == "mmlu/de")
    lost = followers(found.train, [start.adapter_id])
    assert [unit.source.name for unit in lost] == ["two", "three"]
    rest, had = without(found, {start.adapter_id: failure_of(start, NAN, "", 1)})
    assert had == {start.adapter_id}
    assert len(rest.train) == len(found.train) - 3
    assert not {unit.adapter_id for unit in lost} & {part.subject for part in rest.parts}


def test_what_begins_with_another_is_in_another_gang() -> None:
    study = config()
    found = plan(grid_of(study), {}, [])
    examples = {unit.source: [Example("who", "me")] * 24 for unit in found.train}
    tokens = {"a": {str(unit.source): 100 for unit in found.train}}
    made = planned(study, found, examples, tokens, Place(1, 1 << 30))
    assert sorted(unit.adapter_id for gang in made for unit in gang) == sorted(unit.adapter_id for unit in found.train)
    assert [{unit.source.name for unit in gang} for gang in made] == [{None}, {"two"}, {"three"}]
    assert gangs([], lambda unit: ("a", 0), {}, {}, 1) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_store_counts_stages_as_the_plan_does(tmp_path: Path, seed: int) -> None:
    compose = "compose: [{name: sum, method: sum, terms: [{source: three}, {source: mmlu/en}]}]\n"
    chance, found, store = random.Random(seed), grid_of(config(more=compose)), Store(str(tmp_path))
    store.write_grid(*found.tables(), **found.named())
    for unit in chance.sample(found.adapters, 3):
        put_record(store, unit)
    for score in chance.sample(scores_of(found), 12):
        put_score(store, score)
    for failing in chance.sample(found.adapters, 2):
        store.put_failure(failure_of(failing, chance.choice([NAN, NODE_LOST]), "", 1))
    failed = {name: one for name, one in store.failures().items() if one.kind == NAN}
    to_do, _ = without(plan(found, store.trained(), store.scored()), failed)
    rows, left = of_store(store)
    assert rows == of_plan(to_do)
    assert int(left.score.sum()) == to_do.n_scores


def test_a_store_that_knows_a_stage_by_another_name_says_so(tmp_path: Path) -> None:
    found, store = grid_of(config()), Store(str(tmp_path))
    put_record(store, next(unit for unit in found.adapters if unit.source.name == "two"))
    check_stages(placed(found, store.trained_in()))
    renamed = grid_of(config(f"arc/en, {LINE}".replace("two", "2nd")))
    with pytest.raises(ConfigError, match="arc/en@2nd as two"):
        check_stages(placed(renamed, store.trained_in()))


def test_changed_data_are_listed_and_named_in_folder_and_record() -> None:
    switch = "{name: mixed, cells: arc/en, switch: {dictionary: words.tsv, rate: 0.25}, start_from: mmlu/de}"
    found = grid_of(config(f"arc/en, {{name: few, cells: arc/en, shots: {{mmlu/de: 2}}}}, {switch}"))
    plain = ids(grid_of(config("arc/en, mmlu/de")))
    assert {name: one for name, one in ids(found).items() if name in plain} == plain
    told = list(lines(found))
    assert "changed data: 2 sources learn from others than their cells' own" in told
    assert "  arc/en+mmlu/de@2@few: 2 examples of mmlu/de beside" in told
    few, mixed = (next(unit for unit in found.adapters if unit.source.name == name) for name in ("few", "mixed"))
    assert few.folder.startswith("adapters/a/arc+mmlu@few/en+de/seed")
    assert stage_of(few) == Stage("few", change="2 examples of mmlu/de beside")
    at = "words are switched by words.tsv at a rate of 0.25, seed 0"
    assert stage_of(mixed) == Stage("mixed", "mmlu/de", mixed.waits_for, ("mmlu/de",), at)
