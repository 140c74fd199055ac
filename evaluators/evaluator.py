"""One process that scores: adapters of one model on the targets of a study.

What can stay warm stays: base model, tokenizer, tasks, tokenised requests and rows. A call scores adapters (or the
base) on several targets: their rows are pooled into waves of some seconds of work, each wave runs as one list, longest
row first, and its results are in the store before the next one starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

import numpy as np

from adapters.plain import plain_lora
from evaluators.forward.engine import Engine
from evaluators.forward.generate import Writer
from evaluators.forward.profile import Profile
from evaluators.items.encoder import encoder_of
from evaluators.items.judge import Response, judge
from evaluators.items.targets import SharedRequests, Target, Targets
from evaluators.scored import Scored, failed
from evaluators.subjects import sharing
from evaluators.subjects.on_base import AdapterError, adapter_on, load_base
from evaluators.subjects.sharing import bank_on
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.faults.kinds import BAD_DATA, NAN, TRANSIENT
from study.faults.network import Unreachable
from study.models.resolve import Model
from study.scratch import scratch
from study.store.store import Store
from study.units import AdapterUnit, GivenAdapter, ScoreUnit

WAVE_SECONDS = 10.0  # results reach the store about this often
FIRST_WAVE_TOKENS = 16  # times the token budget, before the speed is known


class ScoringError(Exception):
    """Log-likelihoods that are no numbers."""


@dataclass(frozen=True)
class Placed:
    """A unit that is being scored: its target, and the slot of the bank its adapter is in, if it is in a bank."""

    unit: ScoreUnit
    target: Target
    slot: int | None


class Evaluator:
    """Scores units of one model. Raises what the model, the store or the device raise; bad data is returned instead."""

    def __init__(
        self,
        model: Model,
        tasks: Sequence[TaskConfig],
        scoring: Scoring,
        store_uri: str,
        tokens_per_batch: int | Literal["auto"] = "auto",
        adapters_per_batch: int | Literal["auto"] = "auto",
        profile: bool = False,
        shared: SharedRequests = lambda cell: None,
    ) -> None:
        self._model = model
        self._adapters_per_batch = adapters_per_batch
        self._store = Store(store_uri)
        self._base = load_base(model)
        self._engine = Engine(self._base, None if tokens_per_batch == "auto" else tokens_per_batch)
        self._engine.profile = Profile(self._engine.device) if profile else None
        encoder = encoder_of(model)
        self._writer = Writer(self._engine, encoder.tokenizer)
        library = TaskLibrary(tasks, scoring)
        self._targets = Targets(library, encoder, self._engine, scoring.apply_chat_template, shared)
        self._tokens_per_second: float | None = None
        self._versions = " ".join(f"{name}/{version(name)}" for name in ("lm-eval", "torch", "transformers", "peft"))

    def score(self, units: Sequence[ScoreUnit]) -> list[Scored]:
        """Score units, adapter by adapter or several at once, write their rows, say what became of each, in order."""
        waiting: dict[AdapterUnit | GivenAdapter | None, list[ScoreUnit]] = {}
        for unit in units:
            waiting.setdefault(unit.adapter, []).append(unit)
        done: dict[str, Scored] = {}
        with scratch() as local:
            folders = {a: self._store.fetch_adapter(a.folder, local) for a in waiting if a is not None}
            many = self._adapters_per_batch
            if many == "auto":
                tokens = self._tokens_of(max(waiting.values(), key=len))
                many = sharing.adapters_per_batch(self._engine.device.type, self._engine.budget, tokens)
            weights = {a: plain_lora(folders[a], self._base) for a in folders} if many > 1 and len(folders) > 1 else {}
            shared = [adapter for adapter, found in weights.items() if found is not None]
            for group in (shared[start : start + many] for start in range(0, len(shared), many)):
                with bank_on(self._engine, [found for a in group if (found := weights[a]) is not None]):
                    own = [(unit, slot) for slot, adapter in enumerate(group) for unit in waiting.pop(adapter)]
                    self._score_all(own, done)
            for adapter, own_units in waiting.items():
                try:
                    with nullcontext() if adapter is None else adapter_on(self._base, folders[adapter]):
                        self._score_all([(unit, None) for unit in own_units], done)
                except AdapterError as error:
                    for unit in own_units:
                        done.setdefault(unit.score_id, failed(unit, BAD_DATA, error))
        if self._engine.profile is not None:
            self._engine.profile.write(self._store, self._model)
        return [done[unit.score_id] for unit in units]

    def _tokens_of(self, units: Sequence[ScoreUnit]) -> int:
        """Tokens of the units' targets, as far as they can be read."""
        return sum(target.tokens for unit in units if (target := self._targets.readable(unit.target)) is not None)

    def _score_all(self, units: Sequence[tuple[ScoreUnit, int | None]], done: dict[str, Scored]) -> None:
        for wave in self._waves(units, done):
            with nullcontext() if self._engine.profile is None else self._engine.profile.traced():
                self._score_wave(wave, done)

    def _waves(self, units: Sequence[tuple[ScoreUnit, int | None]], done: dict[str, Scored]) -> Iterator[list[Placed]]:
        """Units whose targets are ready, in groups that take about WAVE_SECONDS; those without data go to `done`."""
        wave: list[Placed] = []
        tokens = 0
        for unit, slot in units:
            try:
                target = self._targets.ready(unit.target)
            except TaskError as error:
                done[unit.score_id] = failed(unit, BAD_DATA, error)
                continue
            except Unreachable as error:
                done[unit.score_id] = failed(unit, TRANSIENT, error)
                continue
            wave.append(Placed(unit, target, slot))
            tokens += target.tokens
            speed = self._tokens_per_second
            if tokens >= (FIRST_WAVE_TOKENS * self._engine.budget if speed is None else WAVE_SECONDS * speed):
                yield wave
                wave, tokens = [], 0
        if wave:
            yield wave

    def _score_wave(self, wave: Sequence[Placed], done: dict[str, Scored]) -> None:
        """Run the rows of all targets of a wave as one list; judge and write each unit."""
        began = time.perf_counter()
        starts = np.cumsum([0, *(place.target.n_requests for place in wave)]).tolist()
        rows = [
            row.numbered_from(start, place.slot)
            for start, place in zip(starts, wave, strict=False)
            for row in place.target.rows
        ]
        lls, greedy = self._engine.loglikelihoods(rows, starts[-1])
        seconds, read = time.perf_counter() - began, sum(place.target.tokens for place in wave if place.target.rows)
        if read:
            self._tokens_per_second = read / seconds
        items: list[dict[str, object]] = []
        scores: list[dict[str, object]] = []
        results: list[Scored] = []
        written = self._written(wave)
        for start, place in zip(starts, wave, strict=False):
            unit, target = place.unit, place.target
            own = slice(start, start + target.n_requests)
            share = seconds * target.tokens / read if target.rows else 0.0
            try:
                if np.isnan(lls[own]).any():
                    raise ScoringError(f"{unit}: a log-likelihood is not a number: the weights are broken or overflow")
                responses = _responses(target, lls[own].tolist(), greedy[own].tolist())
                if (found := written.get(unit.score_id)) is not None:
                    if isinstance(found, TaskError):
                        raise found
                    responses, share = found
                new_items, new_scores = self._result_rows(unit, target, responses, share)
            except (TaskError, ScoringError) as error:
                results.append(failed(unit, NAN if isinstance(error, ScoringError) else BAD_DATA, error))
                continue
            items += new_items
            scores += new_scores
            metrics = tuple((str(row["metric"]), float(str(row["value"]))) for row in new_scores)
            count = len(target.items)
            results.append(Scored(unit.score_id, True, None, None, None, share, target.tokens, count, metrics))
        with self._engine.stage("write"):
            self._store.append(items, scores)
        done.update((result.score_id, result) for result in results)

    def _written(self, wave: Sequence[Placed]) -> dict[str, tuple[list[str], float] | TaskError]:
        """What the model wrote for the units of a wave that ask for it, and in how many seconds; or why it could not.

        Units of one target share batches.
        """
        alike: dict[Cell, list[Placed]] = {}
        for place in wave:
            if place.target.path == "generate":
                alike.setdefault(place.unit.target, []).append(place)
        written: dict[str, tuple[list[str], float] | TaskError] = {}
        for places in alike.values():
            began, target, instances = time.perf_counter(), places[0].target, places[0].target.instances
            slots = [place.slot for place in places for _ in instances]
            try:
                with self._engine.stage("generate"):
                    texts = self._writer.write(instances * len(places), slots, target.longest_writing)
            except TaskError as error:
                written.update({place.unit.score_id: error for place in places})
                continue
            seconds = (time.perf_counter() - began) / len(places)
            for number, place in enumerate(places):
                own = texts[number * len(instances) : (number + 1) * len(instances)]
                written[place.unit.score_id] = own, seconds
        return written

    def _result_rows(
        self, unit: ScoreUnit, target: Target, responses: Sequence[Response], seconds: float
    ) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        verdict = judge(target.task, target.items, responses)
        shared = {**unit.keys(), "written_at": datetime.now(UTC)}
        run = {
            "subject_id": unit.subject_id,
            "target_id": unit.target_id,
            "seconds": seconds,
            "tokens": target.tokens,
            "device": str(self._engine.device),
            "engine": f"{target.path} {self._versions}",
        }
        scores = [
            {**shared, **run, "metric": metric, "value": value, "stderr": stderr, "n_items": count}
            for metric, value, stderr, count in verdict.metrics
        ]
        return [{**shared, **row} for row in verdict.items], scores


def _responses(target: Target, lls: list[float], greedy: list[bool]) -> Sequence[Response]:
    """What lm-eval's `hf` model would answer to each request about log-likelihoods."""
    return lls if target.task.OUTPUT_TYPE == "loglikelihood_rolling" else list(zip(lls, greedy, strict=True))
