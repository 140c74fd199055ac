"""One process that scores: adapters of one model on the targets of a study.

What can stay warm stays: base model, tokenizer, tasks, tokenised requests and rows. A call scores one adapter (or the
base) on several targets: their rows are pooled into waves of some seconds of work, each wave runs as one list, longest
row first, and its results are in the store before the next one starts.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from evaluators.base import AdapterError, adapter_on, load_base, load_tokenizer
from evaluators.engine import Engine
from evaluators.prepare import Target, Targets
from evaluators.requests import Encoder
from evaluators.targets import Response, judge
from evaluators.writer import Writer
from study.config import Scoring, TaskConfig
from study.models import Model
from study.store import Store
from study.tasks import TaskError, TaskLibrary
from study.units import AdapterUnit, GivenAdapter, ScoreUnit

WAVE_SECONDS = 10.0  # results reach the store about this often
FIRST_WAVE_TOKENS = 16  # times the token budget, before the speed is known


class ScoringError(Exception):
    """Log-likelihoods that are no numbers."""


@dataclass(frozen=True)
class Scored:
    """What became of a unit. Its rows are in the store when `ok`; else `kind` says how it failed."""

    score_id: str
    ok: bool
    kind: Literal["bad_data", "nan"] | None
    message: str | None
    traceback: str | None
    seconds: float
    tokens: int
    n_items: int


class Evaluator:
    """Scores units of one model. Raises what the model, the store or the device raise; bad data is returned instead."""

    def __init__(
        self,
        model: Model,
        tasks: Sequence[TaskConfig],
        scoring: Scoring,
        store_uri: str,
        tokens_per_batch: int | Literal["auto"] = "auto",
    ) -> None:
        self._store = Store(store_uri)
        self._base = load_base(model)
        self._engine = Engine(self._base, None if tokens_per_batch == "auto" else tokens_per_batch)
        tokenizer = load_tokenizer(model)
        encoder = Encoder(self._base.config, tokenizer, model.trust_remote_code)
        self._writer = Writer(self._engine, tokenizer)
        self._targets = Targets(TaskLibrary(tasks, scoring), encoder, self._engine, scoring.apply_chat_template)
        self._tokens_per_second: float | None = None
        self._versions = " ".join(f"{name}/{version(name)}" for name in ("lm-eval", "torch", "transformers", "peft"))

    def score(self, units: Sequence[ScoreUnit]) -> list[Scored]:
        """Score units that share their adapter (or the base), write their rows, say what became of each, in order."""
        if len({unit.adapter for unit in units}) != 1:
            raise ValueError("the units of one call share one adapter")
        done: dict[str, Scored] = {}
        with tempfile.TemporaryDirectory() as scratch:
            try:
                with self._with_adapter(units[0].adapter, Path(scratch)):
                    for wave in self._waves(units, done):
                        self._score_wave(wave, done)
            except AdapterError as error:
                for unit in units:
                    done.setdefault(unit.score_id, _failed(unit, "bad_data", error))
        return [done[unit.score_id] for unit in units]

    def _with_adapter(self, adapter: AdapterUnit | GivenAdapter | None, scratch: Path) -> AbstractContextManager[None]:
        if adapter is None:
            return nullcontext()
        return adapter_on(self._base, self._store.fetch_adapter(adapter.folder, scratch))

    def _waves(self, units: Sequence[ScoreUnit], done: dict[str, Scored]) -> Iterator[list[tuple[ScoreUnit, Target]]]:
        """Units whose targets are ready, in groups that take about WAVE_SECONDS; those without data go to `done`."""
        wave: list[tuple[ScoreUnit, Target]] = []
        tokens = 0
        for unit in units:
            try:
                target = self._targets.ready(unit.target)
            except TaskError as error:
                done[unit.score_id] = _failed(unit, "bad_data", error)
                continue
            wave.append((unit, target))
            tokens += target.tokens
            speed = self._tokens_per_second
            if tokens >= (FIRST_WAVE_TOKENS * self._engine.budget if speed is None else WAVE_SECONDS * speed):
                yield wave
                wave, tokens = [], 0
        if wave:
            yield wave

    def _score_wave(self, wave: Sequence[tuple[ScoreUnit, Target]], done: dict[str, Scored]) -> None:
        """Run the rows of all targets of a wave as one list; judge and write each unit."""
        began = time.perf_counter()
        starts = np.cumsum([0, *(target.n_requests for _, target in wave)])
        placed = list(zip(starts.tolist(), wave, strict=False))
        rows = [row.numbered_from(start) for start, (_, target) in placed for row in target.rows]
        lls, greedy = self._engine.loglikelihoods(rows, int(starts[-1]))
        seconds, read = time.perf_counter() - began, sum(target.tokens for _, target in wave if target.rows)
        if read:
            self._tokens_per_second = read / seconds
        items: list[dict[str, object]] = []
        scores: list[dict[str, object]] = []
        results: list[Scored] = []
        for start, (unit, target) in placed:
            own = slice(start, start + target.n_requests)
            share = seconds * target.tokens / read if target.rows else 0.0
            try:
                if np.isnan(lls[own]).any():
                    raise ScoringError(f"{unit}: a log-likelihood is not a number: the weights are broken or overflow")
                began = time.perf_counter()
                responses = self._responses(target, lls[own].tolist(), greedy[own].tolist())
                share += time.perf_counter() - began
                new_items, new_scores = self._result_rows(unit, target, responses, share)
            except (TaskError, ScoringError) as error:
                kind: Literal["bad_data", "nan"] = "nan" if isinstance(error, ScoringError) else "bad_data"
                results.append(_failed(unit, kind, error))
                continue
            items += new_items
            scores += new_scores
            results.append(Scored(unit.score_id, True, None, None, None, share, target.tokens, len(target.items)))
        self._store.append(items, scores)
        done.update((result.score_id, result) for result in results)

    def _responses(self, target: Target, lls: list[float], greedy: list[bool]) -> list[Response]:
        """What lm-eval's `hf` model would answer to each request of a target."""
        if target.path == "generate":
            return list(self._writer.write(target.instances, target.longest_writing))
        if target.task.OUTPUT_TYPE == "loglikelihood_rolling":
            return list(lls)
        return list(zip(lls, greedy, strict=True))

    def _result_rows(
        self, unit: ScoreUnit, target: Target, responses: Sequence[Response], seconds: float
    ) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        verdict = judge(target.task, target.items, responses)
        shared = {**unit.keys(), "written_at": datetime.now(UTC)}
        run = {
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


def _failed(unit: ScoreUnit, kind: Literal["bad_data", "nan"], error: Exception) -> Scored:
    lines = "".join(traceback.format_exception(error))
    return Scored(unit.score_id, False, kind, str(error), lines, 0.0, 0, 0)
