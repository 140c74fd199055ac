"""Units that are scored on one model as it stands: their targets' rows are pooled into waves of some seconds of work.

Each wave runs as one list, longest row first, and is judged before the next one starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from evaluators.forward.engine import Engine
from evaluators.forward.generate import Writer
from evaluators.held import Held
from evaluators.items.results import Answers, Judged, Run, ScoringError, judged_unit, read_answers
from evaluators.items.targets import Target, Targets
from evaluators.scored import Scored, failed
from study.cells import Cell
from study.errors import TaskError
from study.faults.kinds import BAD_DATA, NAN, TRANSIENT
from study.faults.network import Unreachable
from study.pulse import beat
from study.units import ScoreUnit

WAVE_SECONDS = 10.0  # of work in a wave, about
FIRST_WAVE_TOKENS = 16  # times the token budget, before the speed is known


@dataclass(frozen=True)
class Placed:
    """A unit that is being scored: its target, and the slot of the bank its adapter is in, if it is in a bank."""

    unit: ScoreUnit
    target: Target
    slot: int | None


class Waves:
    """What an engine reads and writes for units, judged; their rows wait in `held`.

    `asked_as` is the base's identity where its own encoder makes the requests, whoever answers them.
    """

    def __init__(
        self, engine: Engine, targets: Targets, writer: Writer, held: Held, asked_as: str | None = None
    ) -> None:
        self._engine, self._targets, self._writer, self._held = engine, targets, writer, held
        self._asked_as = asked_as
        self._tokens_per_second: float | None = None
        versions = " ".join(f"{name}/{version(name)}" for name in ("lm-eval", "torch", "transformers", "peft"))
        self._run = Run(str(engine.device), versions)

    def score(self, units: Sequence[tuple[ScoreUnit, int | None]], done: dict[str, Scored]) -> None:
        """Score units, each with the slot of the bank that its adapter is in; add an outcome for each to `done`."""
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
                beat()
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
        """Have the model answer all requests of a wave; judge each unit."""
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
            for place in wave:
                self._ask(place.unit.target_id, place.target)
            self._held.add([row for one in judged for row in one.items], [row for one in judged for row in one.scores])
        done.update((result.score_id, result) for result in results)

    def _ask(self, target_id: str, target: Target) -> None:
        """Keep what a target asks. In a chat that is the base's to say: an adapter may bring a template of its own."""
        if self._asked_as is not None or not target.in_chat:
            self._held.ask((target_id, self._asked_as if target.in_chat else None), target.questions)

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
                    answers = self._writer.write(instances * len(places), slots, target.longest_writing)
            except TaskError as error:
                written.update({place.unit.score_id: error for place in places})
                continue
            seconds = (time.perf_counter() - began) / len(places)
            for number, place in enumerate(places):
                own = answers[number * len(instances) : (number + 1) * len(instances)]
                cut_off = [one.cut_off for one in own]
                written[place.unit.score_id] = Answers([one.text for one in own], seconds, cut_off)
        return written
