"""A Tune trial: one gang of adapters, trained by a group of worker actors that outlives the trial.

Tune reuses the trial's actor for the next trial (`reuse_actors`), and with it the workers: their imports, base model,
tokenised data and process group stay warm. A lost worker rebuilds the group, and the gang goes on from its last
checkpoint, as it does when the trial's actor, its node or the whole run was lost. Whatever fails is classified in here
and ends the trial with a record, not with an exception: Tune's own budget is for actors that are lost.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune

from orchestrator.failures import NotStarted, backoff_s, is_spoilt, kind_of, last_line
from orchestrator.scheduling.attempt import AGAIN, SPLIT, Attempt
from orchestrator.scheduling.blame import MOST_LOSSES
from orchestrator.scheduling.gangs import with_rows
from orchestrator.training.checkpoints import Begun, begun, latest, parts
from orchestrator.training.workers import TrialContext, WorkerGroup, headline, is_lost
from study.config import Training
from study.faults.kinds import KILLED_FOR_MEMORY, NODE_LOST, OUT_OF_MEMORY
from study.store.records import AdapterRecord
from study.units import failure_of


class AdapterTrial(tune.Trainable):
    """Tune's view of a gang: one step that trains it. config = {"gang": [adapter_id, …], "attempts": {kind: n}, …}.

    `attempts` are those that a trial before this one has spent on the gang before it left its place.
    """

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]  # the rest comes by tune.with_parameters
        self._context = context
        self._context_ref: Any = None
        self._fits: dict[str, tuple[int, Training]] = {}  # what an out-of-memory has brought a model down to
        self._able: set[str] = set()  # models of which gangs were trained here
        self._group = WorkerGroup(ray.util.get_current_placement_group(), context.config)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._gang: list[str] = list(new_config["gang"])
        self._before: dict[str, int] = dict(new_config.get("attempts", {}))
        return True

    def step(self) -> dict[str, Any]:
        started = time.monotonic()
        config = self._context.config
        model = self._context.units[self._gang[0]].model
        attempt = Attempt(self._gang, config.training, dict(self._before))
        lost: list[str] = []  # the nodes on which workers died
        outcome: dict[str, list[Any]] = {"trained": [], "rejected": []}
        while not attempt.is_over:
            try:
                if attempt.parts is None:
                    outcome["trained"], left = self._left()
                    attempt.begin(left, *self._fits.get(model, (len(self._gang), config.training)))
                    continue
                part = self._train(attempt.at_work, attempt.training)
                self._able.add(model)
            except Exception as error:  # noqa: BLE001 - whatever is raised is classified here
                kind, tried = self._kind(error, lost), attempt.at_work
                does = attempt.failed(kind, model in self._able, config.failures, config.recipe)
                if does == SPLIT:
                    continue
                if does == AGAIN:
                    if kind == OUT_OF_MEMORY and attempt.parts:
                        self._fits[model] = len(attempt.at_work), attempt.training
                    elif not isinstance(error, NotStarted):
                        time.sleep(backoff_s(attempt.spent[kind]))
                    if isinstance(error, NotStarted) or max(Counter(lost).values(), default=0) >= MOST_LOSSES:
                        left_so = {"left": True, "lost": lost, "attempts": attempt.spent}
                        return {"done": True, **left_so, "rejected": outcome["rejected"]}
                    continue
                part = self._given_up(tried, kind, error, attempt.spent[kind])
            attempt.ended()
            for key in outcome:
                outcome[key] += part[key]
        seconds = time.monotonic() - started
        return {"done": True, "seconds": seconds, "lost": lost, **outcome, **_means(outcome["trained"])}

    def _kind(self, error: Exception, lost: list[str]) -> str:
        """The kind of what a try has raised. Nodes that lost a worker are booked; workers that are of no use end."""
        kind = kind_of(error)
        if kind in (NODE_LOST, KILLED_FOR_MEMORY):
            lost += self._group.failed_on()
        if kind == NODE_LOST and is_lost(error) and self._group.struck():
            kind = KILLED_FOR_MEMORY
        if self._group.size > 1 or is_lost(error) or is_spoilt(error):  # the others wait for it: begin anew
            self._group.stop()
        return kind

    def _left(self) -> tuple[list[dict[str, Any]], list[list[str]]]:
        """Headlines of members that an attempt before this one has recorded; the others, as checkpoints have them."""
        headlines, left = [], []
        for adapter_id in self._gang:
            record = self._record(adapter_id)
            if record is None:
                left.append(adapter_id)
            else:
                headlines.append(headline(record))
        return headlines, parts(left, begun(self._context.store))

    def _train(self, gang: Sequence[str], training: Training) -> dict[str, Any]:
        """Train a part of the gang, from where a checkpoint has it; then delete those that are of no more use."""
        if self._context_ref is None:
            self._context_ref = ray.put(self._context)
        store, checkpoints = self._context.store, begun(self._context.store)
        found = latest(gang, checkpoints)
        if found is not None and found.rows is not None:
            training = with_rows(training, found.rows)
        start = None if found is None else store.read(found.file)
        part = self._group.train(self._context_ref, gang, training, start)
        for checkpoint in begun(store):
            if not checkpoint.members.isdisjoint(gang) and not self._is_wanted(checkpoint, gang):
                store.delete(checkpoint.file)
        return part

    def _is_wanted(self, checkpoint: Begun, ended: Sequence[str]) -> bool:
        """Whether an adapter of the study can still go on from a checkpoint."""
        left = checkpoint.members - checkpoint.failed - set(ended)
        return any(name in self._context.units and self._record(name) is None for name in left)

    def _record(self, adapter_id: str) -> AdapterRecord | None:
        return self._context.store.record(self._context.units[adapter_id].folder)

    def _given_up(self, gang: Sequence[str], kind: str, error: Exception, attempts: int) -> dict[str, Any]:
        text = "".join(traceback.format_exception(error))
        failures = [
            failure_of(self._context.units[adapter_id], kind, last_line(error), attempts, text).to_json()
            for adapter_id in gang
        ]
        return {"trained": [], "rejected": failures}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the store is the truth."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: the store is the truth."""

    def cleanup(self) -> None:
        self._group.stop()


def _means(trained: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the gang of what Tune's table and the dashboard show."""
    numbers = {}
    for name in ("train_loss", "validation_loss"):
        values = [adapter[name] for adapter in trained if adapter[name] is not None]
        if values:
            numbers[name] = sum(values) / len(values)
    return numbers
