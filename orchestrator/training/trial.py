"""A Tune trial: one gang of adapters, trained by a group of worker actors that outlives the trial.

`AdapterTrial` is what Tune makes, one actor for each place where training may run. Tune hands it a gang and takes a
result; then it hands the same actor the next gang (`reuse_actors`), so that the workers' imports, base model, tokenised
data and process group stay warm. Its `GangTrainer` does the work: it asks the store what of the gang is recorded or has
a checkpoint, gives the rest to the `WorkerGroup`, and answers with an outcome.

While workers train, the trial watches over them, and the driver over the trial: what lives and does nothing is killed.

Invariant: whatever fails is given its kind in here and ends the trial with an outcome, never with an exception; Tune's
own budget is for actors that are lost. A worker that is lost costs the steps since the last checkpoint, as does the
loss of the trial's actor, of its node or of the whole run: `scheduling.attempt` says what is tried again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray
from ray import tune

from orchestrator.cluster.beats import forget, own_pulse
from orchestrator.failures import NotStarted, backoff_s, is_spoilt, kind_of, raised
from orchestrator.scheduling.attempt import AGAIN, GIVEN_UP, Attempt
from orchestrator.scheduling.blame import MOST_LOSSES
from orchestrator.scheduling.shrink import with_limits
from orchestrator.training.checkpoints import Begun, begun, latest, parts
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import GangEnded, GangMoved, Trained, as_result
from orchestrator.training.record import headline
from orchestrator.training.workers import WorkerGroup, is_lost
from study.config import Training
from study.faults.kinds import HUNG, KILLED_FOR_MEMORY, NODE_LOST, OUT_OF_MEMORY, FailureKind
from study.pulse import LOADING
from study.store.records import AdapterRecord


class AdapterTrial(tune.Trainable):
    """Tune's view of a gang: one step that trains it. config = {"gang": [adapter_id, …], "attempts": {kind: n}, …}.

    `attempts` are those that a trial before this one has spent on the gang before it gave up its place.
    """

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]  # the rest comes by tune.with_parameters
        self._pulse = own_pulse()
        self._pulse.begin(LOADING)
        group = WorkerGroup(ray.util.get_current_placement_group(), context.config.training)
        self._trainer = GangTrainer(context, group)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.gang: list[str] = list(new_config["gang"])
        self._attempts: dict[str, int] = dict(new_config.get("attempts", {}))
        return True

    def step(self) -> dict[str, Any]:
        self._pulse.begin(LOADING)
        started = time.monotonic()
        outcome = self._trainer.train(self.gang, self._attempts)
        result = {"done": True, "seconds": time.monotonic() - started, **as_result(outcome)}
        return result if isinstance(outcome, GangMoved) else {**result, **_means(outcome.trained)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the store is the truth."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: the store is the truth."""

    def cleanup(self) -> None:
        self._trainer.stop()
        forget([str(ray.get_runtime_context().get_actor_id())])


class Workers(Protocol):
    """What a gang is trained on: a WorkerGroup."""

    size: int

    def train(
        self, context: TrialContext, adapter_ids: Sequence[str], training: Training, start: bytes | None
    ) -> GangEnded: ...

    def failed_on(self) -> list[str]: ...

    def struck(self) -> bool: ...

    def stop(self) -> None: ...


class GangTrainer:
    """Trains one gang after the other on a group of workers, and tries again what fails. It asks nothing of Ray.

    It remembers, by model, how few adapters and tokens at once an out-of-memory has brought it down to, and whether it
    has trained any gang of the model.
    """

    def __init__(self, context: TrialContext, workers: Workers, sleep: Callable[[float], None] = time.sleep) -> None:
        self._context, self._workers, self._sleep = context, workers, sleep
        self._fits: dict[str, tuple[int, Training]] = {}
        self._able: set[str] = set()

    def train(self, gang: Sequence[str], attempts: Mapping[str, int]) -> GangEnded | GangMoved:
        """Train what of a gang (adapter_ids of one model and recipe) is not recorded.

        `attempts` were spent elsewhere on it.
        """
        config, first = self._context.config, self._context.units[gang[0]]
        model, recipe = first.model, config.recipe_of(first.source, first.recipe)
        attempt = Attempt(gang, config.training, dict(attempts))
        ended = GangEnded()
        lost: list[str] = []  # the nodes on which workers died
        while not attempt.is_over:
            try:
                if attempt.parts is None:
                    recorded, to_do = self._look_up(gang)
                    ended += GangEnded(recorded)
                    attempt.begin(to_do, *self._fits.get(model, (len(gang), config.training)))
                    continue
                part = self._train(attempt.at_work, attempt.training)
                self._able.add(model)
            except Exception as error:  # noqa: BLE001 - whatever is raised is given its kind here
                kind, tried = self._kind(error, lost), attempt.at_work
                answer = attempt.failed(kind, model in self._able, config.failures, recipe)
                if answer == AGAIN and self._gives_up_place(model, attempt, kind, error, lost):
                    return GangMoved(attempt.spent, ended.failed, tuple(lost))
                if answer != GIVEN_UP:
                    continue
                part = self._given_up(tried, kind, error, attempt.spent[kind])
            attempt.ended()
            ended += part
        return ended + GangEnded(lost=tuple(lost))

    def stop(self) -> None:
        self._workers.stop()

    def _gives_up_place(
        self, model: str, attempt: Attempt, kind: FailureKind, error: Exception, lost: Sequence[str]
    ) -> bool:
        """Whether the next try should be elsewhere: workers do not start here, or a node loses too many of them.

        Where it should be here, wait until its time has come.
        """
        if kind == OUT_OF_MEMORY and attempt.parts:
            self._fits[model] = len(attempt.at_work), attempt.training
        elif not isinstance(error, NotStarted):
            self._sleep(backoff_s(attempt.spent[kind]))
        return isinstance(error, NotStarted) or max(Counter(lost).values(), default=0) >= MOST_LOSSES

    def _kind(self, error: Exception, lost: list[str]) -> FailureKind:
        """The kind of what a try has raised. Nodes that lost a worker are booked; workers that are of no use end."""
        kind = kind_of(error)
        if kind in (NODE_LOST, KILLED_FOR_MEMORY, HUNG):
            lost += self._workers.failed_on()
        if kind == NODE_LOST and is_lost(error) and self._workers.struck():
            kind = KILLED_FOR_MEMORY
        ended = kind == HUNG or is_lost(error) or is_spoilt(error)
        if ended or self._workers.size > 1:  # the others wait for it: begin anew
            self._workers.stop()
        return kind

    def _look_up(self, gang: Sequence[str]) -> tuple[tuple[Trained, ...], list[list[str]]]:
        """Members that a try before this one has recorded; the others in parts, as checkpoints have them."""
        recorded, to_do = [], []
        for adapter_id in gang:
            record = self._record(adapter_id)
            if record is None:
                to_do.append(adapter_id)
            else:
                recorded.append(headline(record))
        return tuple(recorded), parts(to_do, begun(self._context.store))

    def _train(self, gang: Sequence[str], training: Training) -> GangEnded:
        """Train a part of the gang, from where a checkpoint has it; then delete those that are of no more use."""
        store, checkpoints = self._context.store, begun(self._context.store)
        found = latest(gang, checkpoints)
        if found is not None:
            training = with_limits(training, found.rows, found.tokens)
        start = None if found is None else store.read(found.file)
        part = self._workers.train(self._context, gang, training, start)
        for checkpoint in begun(store):
            if not checkpoint.members.isdisjoint(gang) and not self._is_wanted(checkpoint, gang):
                store.delete(checkpoint.file)
        return part

    def _is_wanted(self, checkpoint: Begun, ended: Sequence[str]) -> bool:
        """Whether an adapter of the study can still go on from a checkpoint."""
        going_on = checkpoint.members - checkpoint.failed - set(ended)
        return any(name in self._context.units and self._record(name) is None for name in going_on)

    def _record(self, adapter_id: str) -> AdapterRecord | None:
        return self._context.store.record(self._context.units[adapter_id].folder)

    def _given_up(self, gang: Sequence[str], kind: FailureKind, error: Exception, attempts: int) -> GangEnded:
        units = [self._context.units[name] for name in gang]
        return GangEnded(failed=tuple(raised(unit, kind, error, attempts) for unit in units))


def _means(trained: Sequence[Trained]) -> dict[str, float]:
    """Means over the gang of what Tune's table and the dashboard show."""
    numbers = {}
    for name in ("train_loss", "validation_loss"):
        values = [loss for adapter in trained if (loss := getattr(adapter, name)) is not None]
        if values:
            numbers[name] = sum(values) / len(values)
    return numbers
