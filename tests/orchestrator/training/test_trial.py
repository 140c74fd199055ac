"""Trials on a real cluster, with workers that are killed for real: the same adapters result."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray
import torch

from orchestrator.failures import Hung, kind_of
from orchestrator.scheduling import silence
from orchestrator.scheduling.waits import Waits
from orchestrator.training.checkpoints import CHECKPOINTS, begun, file_of
from orchestrator.training.outcome import GangEnded, GangMoved
from orchestrator.training.trial import GangTrainer
from orchestrator.training.workers import WorkerGroup
from study.store.records import AdapterRecord
from study.store.store import Store
from tests.support.forks.graft import family
from tests.support.sockets import documented, listening
from tests.support.tiny_world import start, sweep_apart
from tests.support.trials import (
    RECIPE,
    TooLate,
    assert_equal,
    context_of,
    farthest,
    study,
    trained,
    trainer_of,
    until,
)
from trainers.checkpoint import Checkpoint, MemberState
from trainers.checkpoint_header import header

LONG = {**RECIPE, "epochs": 80}  # for what takes long to disturb a study


class Deadly(Store):
    """A store whose second adapter is the last thing its writer does."""

    def put_adapter(self, folder: str, local: Path, record: AdapterRecord) -> None:
        super().put_adapter(folder, local, record)
        if len(self.records()) == 2:
            os.kill(os.getpid(), signal.SIGKILL)


class Hesitant(Store):
    """A store that does not answer the first time."""

    asked = 0

    def exists(self, relative: str) -> bool:
        self.asked += 1
        if self.asked == 1:
            raise ConnectionResetError("connection reset by peer")
        return super().exists(relative)


@pytest.fixture(scope="module")
def undisturbed(
    cluster: None, world: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WorkerGroup, Store]]:
    """The worker of a trial that has trained its gang in one go, and its store."""
    context = context_of(study(world, tmp_path_factory.mktemp("undisturbed"))[1])
    group = WorkerGroup(None, context.config.training)
    assert len(trained(GangTrainer(context, group), context).trained) == 4
    assert context.store.files(CHECKPOINTS, "") == []
    yield group, context.store
    group.stop()


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGSTOP)])
def test_a_worker_that_is_killed_or_stopped_costs_an_epoch_and_no_result(
    undisturbed: tuple[WorkerGroup, Store],
    world: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    number: int,
) -> None:
    monkeypatch.setattr(silence, "TIMES", 2.0)  # a first step takes seconds
    training = {"workers_per_trial": workers, "resources_per_worker": {"CPU": 1}}
    context = context_of(study(world, tmp_path, training=training, failures={"hung_after_s": 20})[1])
    group = WorkerGroup(None, context.config.training)
    group.start()
    pid = ray.get(group.workers[-1].__ray_call__.remote(lambda _: os.getpid()))
    outcomes: list[GangEnded] = []
    running = threading.Thread(target=lambda: outcomes.append(trained(GangTrainer(context, group), context)))
    running.start()
    until(lambda: farthest(context.store) > 0, running.is_alive)
    [file] = context.store.files(CHECKPOINTS, "")
    reached = context.store.read(file)
    sockets = {(name, where) for name, where in listening(os.getpid()) if name == "TrainerProcess"}
    assert sockets, "docs/security.md says at which they listen"
    assert sockets <= documented()
    os.kill(pid, number)
    running.join(300)
    group.stop()
    looked_at(context.store, number == signal.SIGSTOP)
    assert [(len(outcome.trained), outcome.failed) for outcome in outcomes] == [(4, ())]
    assert_equal(context.store, undisturbed[1], exactly=workers == 1)
    for record in context.store.records().values():
        assert record.conditions.resumed_at_steps
        assert record.conditions.world_size == workers
    assert context.store.files(CHECKPOINTS, "") == []
    go_on_with_one(*undisturbed, world, tmp_path / "one", file, reached, exactly=workers == 1)


def looked_at(store: Store, stopped: bool) -> None:
    """Of workers that hang together it is told where each stood, and nothing of those that died."""
    files = store.files("logs/hung", ".txt")
    assert len(files) == stopped
    for file in files:
        text = store.read(file).decode()
        assert text.count("State:") == 2
        assert "T (stopped)" in text
        assert "train_gang" in text or "no stacks: " in text


def go_on_with_one(
    group: WorkerGroup,
    undisturbed: Store,
    world: tuple[Path, Path],
    folder: Path,
    file: str,
    reached: bytes,
    exactly: bool,
) -> None:
    """A trial of one worker, with a checkpoint in its store from as many as made it."""
    folder.mkdir()
    context = context_of(study(world, folder)[1])
    context.store.write(file, reached)
    assert len(trained(GangTrainer(context, group), context).trained) == 4
    assert_equal(context.store, undisturbed, exactly)
    for record in context.store.records().values():
        assert (record.conditions.resumed_at_steps, record.conditions.world_size) == ((header(reached)["step"],), 1)


def test_a_store_that_does_not_answer_at_first_makes_nothing_be_trained_again(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    before = undisturbed[1].records()
    hesitant = Hesitant(undisturbed[1].uri)
    context = replace(context_of(study(world, tmp_path)[1]), store=hesitant)
    assert {adapter.adapter_id for adapter in trained(trainer_of(context), context).trained} == before.keys()
    assert hesitant.asked > 1
    assert undisturbed[1].records() == before


def test_trainers_are_told_of_cells_and_of_other_tasks_prompts(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    """One cell after the other has epochs of each; without prompts none could be drawn."""
    recipe = {**RECIPE, "epochs": 2, "mixing": {"order": "sequential"}, "keep_near_base": {"kl": 0.1}}
    asked = {"sources": [["next/xx", "next/yy"], "next/yy"], "targets": ["next/xx", "skip/xx"]}
    context = context_of(study(world, tmp_path, recipe=recipe, **asked)[1])
    assert trained(GangTrainer(context, undisturbed[0]), context).failed == ()
    epochs = {record.source: len(record.course.epochs) for record in context.store.records().values()}
    assert epochs == {("next/xx", "next/yy"): 4, ("next/yy",): 2}


def test_damaged_checkpoints_cost_their_epochs_and_no_gang(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    """The gang's own has a head and no end, another's is empty."""
    context = context_of(study(world, tmp_path)[1])
    members = {name: MemberState({"failure": None}, None, {"a": torch.ones(4)}) for name in context.units}
    torn = Checkpoint(9, 1.0, (), members).to_bytes(rows=None)[:-4]
    context.store.write(file_of(context.units), torn)
    context.store.write(file_of(["another"]), b"")
    assert farthest(context.store) == 9
    trainer = trainer_of(context)
    outcome = trained(trainer, context)
    trainer.stop()
    assert (len(outcome.trained), outcome.failed) == (4, ())
    assert_equal(context.store, undisturbed[1], exactly=True)
    assert context.store.files(CHECKPOINTS, "") == [file_of(["another"])]


def test_a_gang_torn_while_its_adapters_are_put_ends_the_same(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    """Two of four are recorded; the next run makes the others from the gang's last checkpoint, each in a trial.

    This one tries as often as the budget allows, and says so.
    """
    context = context_of(study(world, tmp_path, failures={"node_lost": 1})[1])
    store, torn = context.store, trainer_of(replace(context, store=Deadly(context.store.uri)))
    given_up = trained(torn, context).failed
    torn.stop()
    assert [(failure.kind, failure.attempts) for failure in given_up] == [("node_lost", 2)] * 4
    assert all("ActorDiedError" in failure.traceback for failure in given_up)
    before = store.records()
    rest = [name for name in context.units if name not in before]
    trainer = trainer_of(context)
    for name in rest:
        assert len(store.files(CHECKPOINTS, "")) == 1
        outcome = trainer.train([name], {})
        assert isinstance(outcome, GangEnded)
        assert [adapter.adapter_id for adapter in outcome.trained] == [name]
    trainer.stop()
    assert_equal(store, undisturbed[1], exactly=True)
    after = store.records()
    assert {name: after[name] for name in before} == before
    assert all(
        after[name].conditions.resumed_at_steps == (after[name].course.steps,) for name in rest
    )  # no step was taken again
    assert store.files(CHECKPOINTS, "") == []


def trials(driver: int) -> list[psutil.Process]:
    """Tune's actors below a study's process."""
    found = []
    for process in family(psutil.Process(driver)):
        with suppress(psutil.NoSuchProcess):
            found += [process] if "AdapterTrial" in " ".join(process.cmdline()[:1]) else []
    return found


def is_resumed(store: Store) -> bool:
    """Whether a checkpoint says that it was gone on from; what is done loses its own while it is looked for."""
    for found in begun(store):
        with suppress(FileNotFoundError):
            if header(store.read(found.file))["resumed"]:
                return True
    return False


def lost(world: tuple[Path, Path], folder: Path) -> tuple[Path, Store]:
    """A study of which Tune's actors were killed, then the whole run. Raises TooLate where it was faster than that."""
    folder.mkdir()
    slowly = {"resources_per_worker": {"CPU": 1}, "gang_size": 8, "micro_batch_tokens": 64}  # a row at a time
    file, config = study(world, folder, training=slowly, recipe=LONG)
    store = Store(config.store)
    with open(folder / "output", "w") as output, start(file, stdout=output, stderr=output) as driver:
        running = lambda: driver.poll() is None and not store.records()  # noqa: E731
        until(lambda: bool(trials(driver.pid)), running)
        found = trials(driver.pid)  # looking for them takes epochs of training
        until(lambda: farthest(store) > 0, running)
        for process in found:
            process.kill()
        until(lambda: is_resumed(store), running)
    assert "Traceback" not in (folder / "output").read_text()  # a trial that is tried again is no news
    return file, store


def test_a_lost_trial_and_a_lost_run_go_on_with_other_workers(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    """SIGKILL of Tune's actors, then of the whole run; then two processes finish what one has begun."""
    whole = tmp_path / "whole"
    whole.mkdir()
    context = context_of(study(world, whole, recipe=LONG)[1])
    trained(GangTrainer(context, undisturbed[0]), context)
    for turn in range(4):
        with suppress(TooLate):
            file, store = lost(world, tmp_path / str(turn))
            break
    else:
        raise TooLate
    time.sleep(2)  # the cluster notices and ends
    how = "training={workers_per_trial: 2, resources_per_worker: {CPU: 0.5}}"
    done = sweep_apart(file, "--set", how)  # this process has a cluster
    assert done.returncode == 0, done.stdout + done.stderr
    assert_equal(store, context.store, exactly=False)
    assert max(len(record.conditions.resumed_at_steps) for record in store.records().values()) == 2
    assert store.files(CHECKPOINTS, "") == []


def test_a_gang_goes_on_without_the_member_that_its_trainer_cannot_train(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    """An example that no tokenizer takes: once other gangs of the model were trained here, the gang is halved."""
    context = context_of(study(world, tmp_path)[1])
    bad = list(context.units.values())[2]
    poison = tuple(replace(example, answer=7) for example in context.examples[bad.source])  # type: ignore[arg-type]
    good = next(name for name in context.units if name != bad.adapter_id)
    trainer = trainer_of(replace(context, examples={**context.examples, bad.source: poison}))
    together = trained(trainer, context)
    assert (together.trained, len(together.failed)) == ((), 4)
    assert isinstance(trainer.train([good], {}), GangEnded)
    alone = trained(trainer, context)
    assert {adapter.adapter_id for adapter in alone.trained} == context.units.keys() - {bad.adapter_id}
    assert [(failed.unit_id, failed.kind) for failed in alone.failed] == [(bad.adapter_id, "bug")]
    trainer.stop()


def test_a_trial_whose_workers_find_no_place_leaves_and_counts_what_was_spent_before(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    training = {"workers_per_trial": 6, "resources_per_worker": {"CPU": 1}}  # of four CPUs
    context = context_of(study(world, tmp_path, training=training, failures={"node_lost": 2})[1])
    trainer = trainer_of(context, Waits(start_s=2.0))
    assert trainer.train(list(context.units), {}) == GangMoved({"node_lost": 1})
    last = trainer.train(list(context.units), {"node_lost": 2})
    assert [(failed.kind, failed.attempts) for failed in last.failed] == [("node_lost", 3)] * 4
    assert all("found no place" in failed.traceback for failed in last.failed)


def test_a_worker_that_is_stopped_while_it_starts_is_looked_at_killed_and_replaced(
    cluster: None, world: tuple[Path, Path], tmp_path: Path
) -> None:
    """It counted as a lost node, and nobody looked where it stood."""
    context = context_of(study(world, tmp_path, training={"resources_per_worker": {"CPU": 1}})[1])
    group = WorkerGroup(None, context.config.training, Waits(start_s=3.0))
    group.workers = [group._worker(0, "trainer that is stopped")]
    pid = ray.get(group.workers[0].__ray_call__.remote(lambda _: os.getpid()))
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Hung, match="1 workers that start: not all ready within 3 s") as error:
        group._started([group.workers[0].address.remote()])
    assert b"T (stopped)" in error.value.found
    assert kind_of(error.value) == "hung"
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, lambda: True)
    assert group.failed_on() != []
    group.stop()


def test_what_no_attempt_can_mend_is_recorded_and_the_trial_stays(
    undisturbed: tuple[WorkerGroup, Store], world: tuple[Path, Path], tmp_path: Path
) -> None:
    """The model's folder is gone when the worker comes to load it; nothing is raised to Tune."""
    context = context_of(study(world, tmp_path, failures={"transient": 0})[1])
    gone = {name: replace(model, path="/nowhere", identity="gone") for name, model in context.models.items()}
    group = WorkerGroup(None, context.config.training)
    outcome = trained(GangTrainer(replace(context, models=gone), group), context)
    assert outcome.trained == ()
    assert [failure.attempts for failure in outcome.failed] == [1] * 4
    assert all("/nowhere" in failure.traceback for failure in outcome.failed)
    assert len(trained(GangTrainer(context, group), context).trained) == 4
    group.stop()
