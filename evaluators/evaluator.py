"""One process that scores: adapters of one model on the targets of a study.

What can stay warm stays: base model, tokenizer, tasks, tokenised requests and rows. A call scores adapters (or the
base) on several targets: their rows are pooled into waves of some seconds of work, each wave runs as one list, longest
row first, and its results are in the store before the next one starts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from transformers import PreTrainedModel

from adapters.base import not_causal
from adapters.fingerprint import changed, fingerprint
from adapters.plain import plain_lora
from adapters.probe import probe
from evaluators.forward.engine import Engine
from evaluators.forward.generate import Writer
from evaluators.forward.profile import Profile
from evaluators.items.encoder import encoder_of
from evaluators.items.results import Answers, Judged, Run, ScoringError, judged_unit, read_answers
from evaluators.items.targets import SharedRequests, Target, Targets
from evaluators.scored import Scored, failed
from evaluators.subjects import sharing
from evaluators.subjects.on_base import AdapterError, adapter_on, load_base
from evaluators.subjects.sharing import bank_on
from study.cells import Cell
from study.config import Scoring, StudyConfig, TaskConfig
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.faults.kinds import BAD_DATA, NAN, TRANSIENT
from study.faults.network import Unreachable
from study.models.resolve import Model
from study.scratch import scratch
from study.store.store import Store
from study.units import AdapterUnit, GivenAdapter, ScoreUnit

log = logging.getLogger(__name__)

WAVE_SECONDS = 10.0  # results reach the store about this often
FIRST_WAVE_TOKENS = 16  # times the token budget, before the speed is known


@dataclass(frozen=True)
class Settings:
    """How the targets of a study are scored, and how it is run: `profile` asks for a page on where the time goes."""

    tasks: tuple[TaskConfig, ...]
    scoring: Scoring
    tokens_per_batch: int | Literal["auto"] = "auto"
    profile: bool = False
    languages: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: StudyConfig, profile: bool = False) -> Settings:
        return cls(config.tasks, config.scoring, config.evaluators.tokens_per_batch, profile, config.languages)


@dataclass(frozen=True)
class Placed:
    """A unit that is being scored: its target, and the slot of the bank its adapter is in, if it is in a bank."""

    unit: ScoreUnit
    target: Target
    slot: int | None


class Evaluator:
    """Scores units of one model. Raises what the model, the store or the device raise; bad data is returned instead."""

    def __init__(
        self, model: Model, store: Store, settings: Settings, shared: SharedRequests = lambda cell: None
    ) -> None:
        self._model, self._store, self._settings, self._shared = model, store, settings, shared
        self._encoder = encoder_of(model)
        self._tokens_per_second: float | None = None
        self._open()
        versions = " ".join(f"{name}/{version(name)}" for name in ("lm-eval", "torch", "transformers", "peft"))
        self._run = Run(str(self._engine.device), versions)

    def _open(self) -> None:
        """Load the base, and all that holds on to it. Raises ConfigError for one that cannot be scored."""
        model, settings = self._model, self._settings
        self._base = load_base(model)
        self._probe, self._print = probe(self._base), fingerprint(self._base)
        if not self._probe.is_causal:
            raise not_causal(model, f"later tokens move earlier logits by {self._probe.later:.2g} nats")
        budget = None if settings.tokens_per_batch == "auto" else settings.tokens_per_batch
        self._engine = Engine(self._base, budget, Profile(self._base.device) if settings.profile else None)
        self._writer = Writer(self._engine, self._encoder.tokenizer)
        library = TaskLibrary(settings.tasks, settings.scoring, settings.languages)
        chat = settings.scoring.apply_chat_template
        self._targets = Targets(library, self._encoder, self._engine, chat, self._shared)

    def score(self, units: Sequence[ScoreUnit]) -> list[Scored]:
        """Score units, adapter by adapter or several at once, and write their rows. An outcome per unit, in order."""
        waiting: dict[AdapterUnit | GivenAdapter | None, list[ScoreUnit]] = {}
        for unit in units:
            waiting.setdefault(unit.adapter, []).append(unit)
        done: dict[str, Scored] = {}
        with scratch() as local:
            folders = {a: self._store.fetch_adapter(a.folder, local) for a in waiting if a is not None}
            tokens = self._tokens_of(max(waiting.values(), key=len))
            many = sharing.adapters_per_batch(self._engine.device.type, self._engine.budget, tokens)
            weights = {a: plain_lora(folders[a], self._base) for a in folders} if many > 1 and len(folders) > 1 else {}
            plain = [(adapter, found) for adapter, found in weights.items() if found is not None]
            for group in (plain[start : start + many] for start in range(0, len(plain), many)):
                with bank_on(self._engine, [found for _, found in group]):
                    own = [(unit, slot) for slot, (adapter, _) in enumerate(group) for unit in waiting.pop(adapter)]
                    self._score_all(own, done)
            for adapter, own_units in waiting.items():
                self._score_alone(own_units, None if adapter is None else folders[adapter], done)
        if self._engine.profile is not None:
            self._engine.profile.write(self._store, self._model)
        return [done[unit.score_id] for unit in units]

    def _tokens_of(self, units: Sequence[ScoreUnit]) -> int:
        """Tokens of the units' targets, as far as they can be read."""
        return sum(target.tokens for unit in units if (target := self._targets.readable(unit.target)) is not None)

    def _score_alone(self, units: Sequence[ScoreUnit], folder: Path | None, done: dict[str, Scored]) -> None:
        """Score units of one adapter, whose files are in a folder, or of the base where there is none."""
        try:
            with self._subject(folder) as model, self._engine.running(model):
                self._score_all([(unit, None) for unit in units], done)
        except AdapterError as error:
            for unit in units:
                done.setdefault(unit.score_id, failed(unit, BAD_DATA, error))

    @contextmanager
    def _subject(self, folder: Path | None) -> Iterator[PreTrainedModel]:
        """Gives the model that is to be scored. Afterwards the base is what it was, or another is loaded."""
        if folder is None:
            yield self._base
            return
        by_others = True  # until it is known that we put the adapter on by ourselves
        try:
            with adapter_on(self._base, folder, self._probe.read_elsewhere) as model:
                by_others = model is not self._base
                yield model
        finally:
            what = changed(self._base, self._print, read=by_others)
            if what is not None:
                log.warning("an adapter has changed the base of %s (%s): it is loaded again", self._model.name, what)
                self._open()

    def _score_all(self, units: Sequence[tuple[ScoreUnit, int | None]], done: dict[str, Scored]) -> None:
        for wave in self._waves(units, done):
            with self._engine.traced():
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
        """Have the model answer all requests of a wave; judge and write each unit."""
        read, written = self._read(wave), self._written(wave)
        judged: list[Judged] = []
        results: list[Scored] = []
        for place, answers in zip(wave, read, strict=True):
            try:
                judged.append(
                    judged_unit(place.unit, place.target, written.get(place.unit.score_id, answers), self._run)
                )
                results.append(judged[-1].result)
            except TaskError as error:
                results.append(failed(place.unit, BAD_DATA, error))
            except ScoringError as error:
                results.append(failed(place.unit, NAN, error))
        with self._engine.stage("write"):
            items, scores = [row for one in judged for row in one.items], [row for one in judged for row in one.scores]
            self._store.append(items, scores)
        done.update((result.score_id, result) for result in results)

    def _read(self, wave: Sequence[Placed]) -> list[Answers]:
        """The log-likelihoods of each unit of a wave, whose targets' rows run as one list."""
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
        answers: list[Answers] = []
        for start, place in zip(starts, wave, strict=False):
            own = slice(start, start + place.target.n_requests)
            share = seconds * place.target.tokens / read if place.target.rows else 0.0
            answers.append(read_answers(place.target, lls[own], greedy[own], share))
        return answers

    def _written(self, wave: Sequence[Placed]) -> dict[str, Answers | TaskError]:
        """What the model writes for the units of a wave that ask for it, by score_id; or why it cannot.

        Units of one target share batches.
        """
        alike: dict[Cell, list[Placed]] = {}
        for place in wave:
            if place.target.path == "generate":
                alike.setdefault(place.unit.target, []).append(place)
        written: dict[str, Answers | TaskError] = {}
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
                written[place.unit.score_id] = Answers(own, seconds)
        return written
