"""The numbers of a run as Ray metrics, which Ray's dashboard, Prometheus and Grafana read from every node's endpoint.

| metric | tags | what |
|---|---|---|
| crosscells_adapters_trained_total | study, model | adapters trained in this run |
| crosscells_scores_total | study, model | scores made in this run |
| crosscells_units_failed_total | study, model, kind | units that failed |
| crosscells_tokens_total | study, model, stage | tokens read, `stage` is train or score |
| crosscells_units_left | study, model, stage | units left |
| crosscells_eta_seconds | study | seconds left |
| crosscells_evaluators | study, model | scoring actors |

Prometheus sees each name with `ray_` before it.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.progress.numbers import Progress


class Metrics:
    """What was exported last, so that counters are raised by what is new."""

    def __init__(self, study: str) -> None:
        tags = ("study", "model")
        self._study = study
        self._trained = Counter("crosscells_adapters_trained_total", "adapters trained", tags)
        self._scored = Counter("crosscells_scores_total", "scores made", tags)
        self._failed = Counter("crosscells_units_failed_total", "units that failed", (*tags, "kind"))
        self._tokens = Counter("crosscells_tokens_total", "tokens read", (*tags, "stage"))
        self._left = Gauge("crosscells_units_left", "units left", (*tags, "stage"))
        self._eta = Gauge("crosscells_eta_seconds", "seconds left", ("study",))
        self._evaluators = Gauge("crosscells_evaluators", "scoring actors", tags)
        self._last: dict[tuple[object, ...], float] = {}

    def export(self, progress: Progress) -> None:
        for (stage, model), count in progress.done.items():
            self._raise({TRAIN: self._trained, SCORE: self._scored}[stage], count, {"model": model})
        failed: Tally[tuple[str, str]] = Tally()
        for (_, model, kind), count in progress.failed.items():
            failed[model, kind] += count
        for (model, kind), count in failed.items():
            self._raise(self._failed, count, {"model": model, "kind": kind})
        for (stage, model), count in progress.tokens.items():
            self._raise(self._tokens, count, {"model": model, "stage": stage})
        for (stage, model), count in progress.to_do.items():
            self._left.set(count, {"study": self._study, "model": model, "stage": stage})
        for model, count in progress.evaluators.items():
            self._evaluators.set(count, {"study": self._study, "model": model})
        eta = progress.eta_s()
        if eta is not None:
            self._eta.set(eta, {"study": self._study})

    def _raise(self, counter: Counter, value: float, tags: Mapping[str, str]) -> None:
        key = (counter.info["name"], *tags.values())
        more = value - self._last.get(key, 0.0)
        if more > 0:
            counter.inc(more, {"study": self._study, **tags})
            self._last[key] = value
