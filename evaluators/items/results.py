"""From a model's answers on a target to the rows that the store takes.

Log-likelihoods that are no numbers give no row: what follows from them would look like a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from evaluators.items.judge import Metric, Response, judge
from evaluators.items.targets import Target
from evaluators.scored import Scored
from study.errors import TaskError
from study.units import ScoreUnit


class ScoringError(Exception):
    """Log-likelihoods that are no numbers."""


@dataclass(frozen=True)
class Answers:
    """What the model answers to a target's requests, in their order, and in how many seconds.

    Of what is written `cut_off` says whether it ended at the limit of tokens.
    """

    responses: Sequence[Response]
    seconds: float
    cut_off: Sequence[bool] = ()


@dataclass(frozen=True)
class Run:
    """On what device, and with which versions of the libraries, a process scores."""

    device: str
    versions: str


@dataclass(frozen=True)
class Judged:
    """A unit's rows for the store, and what the caller is told of it."""

    items: list[dict[str, object]]
    scores: list[dict[str, object]]
    result: Scored


def read_answers(target: Target, lls: NDArray[np.float64], greedy: NDArray[np.bool_], seconds: float) -> Answers:
    """What lm-eval's `hf` model would answer to each request about log-likelihoods."""
    if target.task.OUTPUT_TYPE == "loglikelihood_rolling":
        return Answers(lls.tolist(), seconds)
    return Answers(list(zip(lls.tolist(), greedy.tolist(), strict=True)), seconds)


def judged_unit(unit: ScoreUnit, target: Target, answers: Answers | TaskError, run: Run) -> Judged:
    """lm-eval's verdict on a unit. Raises ScoringError, and TaskError: also one that stands in place of answers."""
    if isinstance(answers, TaskError):
        raise answers
    if any(math.isnan(_loglikelihood(response)) for response in answers.responses):
        raise ScoringError(f"{unit}: a log-likelihood is not a number: the weights are broken or overflow")
    verdict = judge(target.task, target.items, answers.responses, target.metrics)
    shared = {**unit.keys(), "written_at": datetime.now(UTC)}
    about = {
        "subject_id": unit.subject_id,
        "target_id": unit.target_id,
        "seconds": answers.seconds,
        "tokens": target.tokens,
        "device": run.device,
        "engine": f"{target.path} {run.versions}",
        "base_compared": True,
        "day_fixed": True,  # items.encoder
    }
    scores = [{**shared, **about, **_score(one)} for one in verdict.metrics]
    metrics = tuple((one.name, one.value) for one in verdict.metrics)
    count = len(target.items)
    result = Scored(unit.score_id, True, None, None, None, answers.seconds, target.tokens, count, metrics)
    cut_off = [answers.cut_off[item.first] if answers.cut_off else None for item in target.items]
    rows = [{**shared, **row, "cut_off": cut} for row, cut in zip(verdict.items, cut_off, strict=True)]
    return Judged(rows, scores, result)


def _score(metric: Metric) -> dict[str, object]:
    own = asdict(metric)
    return {"metric": own.pop("name"), **own}


def _loglikelihood(response: Response) -> float:
    """The log-likelihood in a response; 0 for a text that the model wrote."""
    if isinstance(response, str):
        return 0.0
    return response[0] if isinstance(response, tuple) else response
