"""The scheduler's decisions: pure functions, and what they come to in virtual time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.simulation import Change, Costs, Outcome, Simulation, lower_bound
from orchestrator.planning.grid import Grid, Part, expand
from orchestrator.scheduling.backlog import MOST_UNITS, Backlog
from orchestrator.scheduling.decide import (
    MOST_BATCH_S,
    Decision,
    Demand,
    Shape,
    Work,
    beside,
    decide,
    fits,
    in_order,
    spread,
)
from study.cells import Source
from study.config.file import parse
from study.models.resolve import Model

CPU = Shape({"CPU": 1}, 1, {"CPU": 1})
SCORES = Work(seconds=10, units=10, base=False, actors=0, load_s=1)
BASE = Work(seconds=10, units=10, base=True, actors=0, load_s=1)


@pytest.mark.parametrize(
    ("cpus", "gangs", "scoring", "trials", "evaluators"),
    [
        (2, 44, {}, 2, 0),  # nothing to score yet: all train
        (2, 44, {"a": SCORES}, 1, 1),  # both fit: one each, so that results come early
        (1, 3, {"a": SCORES}, 1, 0),  # only one fits: train first, scores wait for it
        (1, 3, {"a": BASE}, 0, 1),  # but the base's scores come before everything
        (8, 3, {"a": SCORES}, 3, 5),  # what training does not need is for scoring
        (2, 0, {"a": SCORES}, 0, 2),
        (4, 9, {"a": BASE, "b": BASE}, 2, 2),
        (1, 3, {"a": Work(10_000, 99, False, 0, 1)}, 0, 1),  # so much to score that training can wait
        (1, 3, {"a": Work(50, 50, False, 1, 1)}, 0, 1),  # and goes on with it for a while
        (1, 3, {"a": Work(20, 20, False, 1, 1)}, 1, 0),
    ],
)
def test_share_of_the_cluster(cpus: int, gangs: int, scoring: dict[str, Work], trials: int, evaluators: int) -> None:
    decision = decide([{"CPU": cpus}], CPU, Demand(gangs, 0, 1.0, scoring))
    assert (decision.trials, sum(decision.evaluators.values())) == (trials, evaluators)


works = st.builds(
    Work, st.floats(1, 1e5), st.integers(1, 50), st.booleans(), st.integers(0, 5), st.floats(0.1, 100)
)  # fmt: skip
loads = st.dictionaries(st.sampled_from("abc"), works)


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=4), st.integers(1, 8), st.integers(1, 3), st.integers(1, 4),
    st.integers(0, 200), st.integers(0, 8), loads, st.none() | st.integers(1, 8),
)  # fmt: skip
def test_never_more_is_promised_than_there_is(
    nodes: list[int], bundle: int, workers: int, evaluator: int, waiting: int, running: int,
    scoring: dict[str, Work], most: int | None,
) -> None:  # fmt: skip
    shape = Shape({"GPU": bundle}, workers, {"GPU": evaluator})
    decision = decide([{"GPU": n} for n in nodes], shape, Demand(waiting, running, 60.0, scoring), 0, most)
    used = decision.trials * bundle * workers + sum(decision.evaluators.values()) * evaluator
    assert used <= sum(nodes)
    assert decision.trials <= waiting + running
    assert sum(decision.evaluators.values()) <= (decision.room if most is None else min(decision.room, most))
    assert all(count <= scoring[model].units for model, count in decision.evaluators.items())


def test_a_worker_group_may_span_nodes_but_a_worker_may_not() -> None:
    nodes = [{"GPU": 3}, {"GPU": 3}]
    assert beside(nodes, Shape({"GPU": 1}, 4, {"GPU": 1}), 1) == 2
    assert beside(nodes, Shape({"GPU": 2}, 2, {"GPU": 1}), 1) == 2
    assert beside(nodes, Shape({"GPU": 2}, 3, {"GPU": 1}), 1) == -1


@given(loads, st.integers(0, 12))
def test_evaluators_that_have_work_stay_and_no_device_idles_for_want_of_one(work: dict[str, Work], room: int) -> None:
    wanted = spread(work, room)
    bases = sum(one.base for one in work.values())
    if bases <= room:
        assert all(wanted[model] for model, one in work.items() if one.base)
    if bases + sum(min(one.actors, one.units) for one in work.values()) <= room:
        assert all(wanted[model] >= min(one.actors, one.units) for model, one in work.items())
        assert sum(wanted.values()) >= min(room, len(work))


def test_a_second_evaluator_is_not_worth_a_load_that_lasts_longer_than_the_work() -> None:
    assert spread({"a": Work(seconds=20, units=44, base=False, actors=1, load_s=30)}, 8) == {"a": 1}
    assert spread({"a": Work(seconds=200, units=44, base=False, actors=1, load_s=30)}, 8) == {"a": 7}


def test_only_idle_room_is_kept_and_what_others_need_is_given_up() -> None:
    have = {"a": 3, "b": 1}
    assert Decision(0, 4, {"a": 1, "b": 1}).surplus(have) == {"a": 0, "b": 0}  # nobody waits for them
    assert Decision(0, 4, {"a": 1, "b": 3}).surplus(have) == {"a": 2, "b": 0}
    assert Decision(0, 4, {"a": 1, "b": 3}).missing(have) == {"a": 0, "b": 0}  # until they are gone
    assert Decision(1, 3, {"a": 1, "b": 1}).surplus(have) == {"a": 1, "b": 0}  # a trial needs one
    assert Decision(0, 6, {"a": 1, "b": 3}).missing(have) == {"a": 0, "b": 2}


def test_gangs_go_model_by_model_the_longest_chain_first() -> None:
    assert in_order(["small", "small", "big", "big"], [1, 1, 5, 9]) == [2, 3, 0, 1]


def reference(models: dict[str, float], targets: int, seeds: int) -> Grid:
    """A grid of 4 tasks; `models` gives billions of parameters."""
    names = ", ".join(f"{{id: {name}}}" for name in models)
    languages = ", ".join(f"l{i}" for i in range(targets // 4))
    tasks = ", ".join(f"{{name: t{i}, lm_eval: 't{i}_{{language}}'}}" for i in range(4))
    config = parse(f"models: [{names}]\nlanguages: [{languages}]\ntasks: [{tasks}]\nseeds: {list(range(seeds))}")
    resolved = [Model(m, m, None, m, "bfloat16", m, size, int(size * 1e9), False, ()) for m, size in models.items()]
    cells = config.cells()
    return expand(config, resolved, {Source.of([c]): [str(c)] for c in cells}, {c: str(c) for c in cells})


def costs_of(grid: Grid, gang: int = 12) -> Costs:
    """Seconds by a FLOP model, a GPU at 40 % of 989 TFLOP/s; a score reads 400 items of about 100 tokens, more or fewer
    by task and language; an adapter 300 rows of 90 tokens three times; a model loads in 15 s and 1 GB/s."""
    chance = random.Random(1)
    task = {"t0": 1.0, "t1": 0.5, "t2": 2.0, "t3": 0.5}
    tokens = [400 * 100 * task[cell.task] * chance.uniform(0.7, 1.3) for cell in grid.targets]
    per_token = {model.name: 2 * model.params / (0.4 * 989e12) for model in grid.models}
    score = {name: [per_token[name] * count for count in tokens] for name in per_token}
    load = {model.name: 15 + 2 * model.size_billions for model in grid.models}
    gangs = []
    for name in per_token:
        mine = [part for part in grid.parts() if part.adapter and part.model.name == name]
        for members in (tuple(mine[start : start + gang]) for start in range(0, len(mine), gang)):
            gangs.append((members, sum(2 * per_token[name] * 300 * 3 * 90 * chance.uniform(0.7, 1.3) for _ in members)))
    return Costs(load, score, gangs)


def takes(stage: str, model: str, seconds: float) -> float:
    return seconds * CHANCE.uniform(0.85, 1.15)


CHANCE = random.Random(2)
GPU = Shape({"GPU": 1}, 1, {"GPU": 1})
SIZES = {"a": 0.5, "b": 1.2, "c": 1.5, "d": 2.6, "e": 3.1, "f": 3.2, "g": 7.6, "h": 8.0, "i": 9.2}


@pytest.fixture(scope="module")
def published() -> tuple[Grid, Costs]:
    """The reference study: 9 models × 44 sources × 3 seeds × 44 targets."""
    grid = reference(SIZES, 44, 3)
    return grid, costs_of(grid)


def simulated(study: tuple[Grid, Costs], changes: list[Change]) -> Outcome:
    outcome = Simulation(study[0], GPU, study[1], changes, takes).run()
    assert (outcome.adapters, outcome.scores) == (len(study[0].adapters), study[0].n_scores)
    return outcome


@pytest.mark.parametrize("gpus", [1, 8, 64])
def test_the_reference_study_ends_within_a_tenth_of_the_lower_bound(published: tuple[Grid, Costs], gpus: int) -> None:
    nodes = [Change(0, f"node{i}", {"GPU": min(8, gpus)}) for i in range(max(1, gpus // 8))]
    outcome = simulated(published, nodes)
    assert outcome.makespan <= 1.1 * lower_bound(*published, gpus)
    assert outcome.first_base < 0.2 * outcome.makespan  # a base model takes as long as each of its 132 adapters


def test_the_bound_counts_the_loads_without_which_the_work_cannot_be_done() -> None:
    grid = reference({"a": 1.0, "b": 1.0}, 4, 1)  # 5 subjects of each on 4 targets
    training = [((part,), 10.0) for part in grid.parts() if part.adapter]
    costs = Costs({"a": 20.0, "b": 30.0}, {"a": [1.0] * 4, "b": [4.0] * 4}, training)
    assert lower_bound(grid, costs, 1) == pytest.approx(2 * 40 + 20 + 80 + 20 + 30)  # each model once
    # 3 devices: less than 90 s leave each less than 60 s of b's 120, so it would load on all three: 290 s in 3 * 90
    assert lower_bound(grid, costs, 3) == pytest.approx(90, rel=1e-5)
    assert lower_bound(grid, costs, 99) == pytest.approx(2 * 30 + 10 + 4)  # the longest chain
    for places in (1, 3):
        outcome = Simulation(grid, GPU, costs, [Change(0, "a", {"GPU": places})], lambda *given: given[2]).run()
        assert outcome.makespan >= lower_bound(grid, costs, places)


def test_nodes_that_join_are_used_at_once_and_nodes_that_leave_cost_what_they_had_in_hand(
    published: tuple[Grid, Costs],
) -> None:
    changes = [Change(0, "first", {"GPU": 8}), Change(300, "second", {"GPU": 8}), Change(450, "third", {"GPU": 8})]
    changes += [Change(1500, "first", None), Change(1800, "fourth", {"GPU": 8})]
    outcome = simulated(published, changes)
    assert outcome.starts["second"] - 300 < MOST_BATCH_S
    assert outcome.starts["third"] - 450 < MOST_BATCH_S
    assert outcome.starts["fourth"] - 1800 < MOST_BATCH_S
    longest = max(seconds for _, seconds in published[1].gangs)
    assert outcome.lost_s < 8 * max(longest, MOST_BATCH_S)
    work = lower_bound(*published, 1)
    until_1800 = 8 * 1500 + 8 * 1500 + 8 * 1350  # GPU seconds that were there by then
    bound = 1800 + (work - until_1800) / 24
    assert outcome.makespan <= 1.1 * bound


def test_models_too_big_for_one_device_share_the_cluster_with_small_evaluators() -> None:
    grid = reference({"big": 70.0}, 8, 1)
    study = grid, costs_of(grid, 4)
    outcome = Simulation(grid, Shape({"GPU": 4}, 2, {"GPU": 4}), study[1], [Change(0, "a", {"GPU": 8})], takes).run()
    assert outcome.scores == grid.n_scores


def test_batches_hold_every_unit_once_the_base_first_and_get_shorter_towards_the_end() -> None:
    grid = reference({"a": 1.0}, 44, 1)
    seconds = {"a": [float(1 + i % 5) for i in range(44)]}
    backlog = Backlog(seconds, grid.unit)
    backlog.add(grid.parts())
    out, actors = [], 4
    while batch := backlog.take("a", actors, 0.0):
        out.append(batch)
    units = [unit for batch in out for unit in batch.units]
    assert Counter(unit.score_id for unit in units) == Counter(u.score_id for p in grid.parts() for u in grid.units(p))
    assert all(unit.adapter is None for unit in units[:44])
    assert all(batch.seconds <= MOST_BATCH_S and len(batch.units) <= MOST_UNITS for batch in out)
    assert out[-1].seconds <= 2
    assert (backlog.units("a"), backlog.models()) == (0, [])


def test_a_failed_batch_waits_its_turn_and_what_cannot_be_done_is_taken_out() -> None:
    grid = reference({"a": 1.0}, 8, 1)
    backlog = Backlog({"a": [1.0] * 8}, grid.unit)
    first, second, *_ = grid.parts()
    backlog.add([first, Part(second.model, second.adapter, [3, 4])])
    assert backlog.has_base("a")
    batch = backlog.take("a", 1, 0.0)
    assert batch is not None
    batch.not_before = 5.0
    backlog.put_back(batch)
    assert backlog.units("a") == 10
    again = backlog.take("a", 1, 4.0)
    assert again is not None
    assert not {u.score_id for u in again.units} & {u.score_id for u in batch.units}
    retried = backlog.take("a", 1, 5.0)
    assert retried is batch
    left = backlog.drop("a")
    assert len(left) == 10 - len(batch.units) - len(again.units)
    assert backlog.models() == []


def test_fractions_of_a_device_add_up() -> None:
    assert fits({"GPU": 1}, {}, {"GPU": 0.1}) == 10
