"""How far a run is: counts, tokens and seconds by stage and model, and the time that is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.costs.estimate import Estimates, costs
from orchestrator.planning.plan import Plan
from orchestrator.progress.meter import Meter
from study.store.records import FailureRecord

STAGES = {TRAIN: "adapters", SCORE: "scores"}
Key = tuple[str, str]  # stage, model


@dataclass
class Progress:
    """The numbers of a run. Counts are of units; `estimated_s` and `actual_s` are device seconds of what is done.

    `at_work` are the devices of what runs or starts, `held` those of every process there is; `evaluators` how many
    scoring actors each model has. `kept_failed` are units that failed in earlier runs, and what waited for them.
    """

    total: Mapping[str, int]
    before: dict[str, int]
    to_do: Counter[Key]
    to_do_s: dict[Key, float]
    done: Counter[Key] = field(default_factory=Counter)
    failed: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # stage, model, kind
    tokens: Counter[Key] = field(default_factory=Counter)
    estimated_s: dict[Key, float] = field(default_factory=dict)
    actual_s: dict[Key, float] = field(default_factory=dict)
    kept_failed: Mapping[str, int] = field(default_factory=dict)
    at_work: Meter = field(default_factory=Meter)
    held: Meter = field(default_factory=Meter)
    evaluators: Counter[str] = field(default_factory=Counter)
    failures: list[FailureRecord] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    store_silent_s: float = 0.0

    def finished(self, stage: str, model: str, tokens: int, estimated_s: float, actual_s: float) -> None:
        """Book a unit that is done."""
        key = stage, model
        self.done[key] += 1
        self.tokens[key] += tokens
        self.estimated_s[key] = self.estimated_s.get(key, 0.0) + estimated_s
        self.actual_s[key] = self.actual_s.get(key, 0.0) + actual_s
        self._take(key, 1, estimated_s)

    def hold(self, at_work: float, held: float) -> None:
        """Note how many devices are at work, and held, from now on."""
        now = time.monotonic()
        self.at_work.set(now, at_work)
        self.held.set(now, held)

    def lost(self, stage: str, model: str, kind: str, count: int, estimated_s: float) -> None:
        """Book units that failed, or that cannot be done since another one failed."""
        self.failed[stage, model, kind] += count
        self._take((stage, model), count, estimated_s)

    def spared(self, stage: str, model: str, count: int, estimated_s: float) -> None:
        """Book units that turn out to be done."""
        self.before[stage] += count
        self._take((stage, model), count, estimated_s)

    def _take(self, key: Key, count: int, estimated_s: float) -> None:
        self.to_do[key] -= count
        self.to_do_s[key] = self.to_do_s.get(key, 0.0) - estimated_s if self.to_do[key] else 0.0

    def pace(self, stage: str, model: str) -> float | None:
        """Actual over estimated seconds: of the model in this stage, else of the stage, else of all; None at first."""
        for alike in (
            lambda key: key == (stage, model),
            lambda key: key[0] == stage,
            lambda key: True,
        ):
            estimated = sum(seconds for key, seconds in self.estimated_s.items() if alike(key))
            actual = sum(seconds for key, seconds in self.actual_s.items() if alike(key))
            if estimated > 0 and actual > 0:
                return actual / estimated
        return None

    def eta_s(self) -> float | None:
        """Seconds left: each model's work at the speed measured, on as many devices as are at work in these minutes.

        None before any speed, and where nobody is at work.
        """
        work = 0.0
        for (stage, model), seconds in self.to_do_s.items():
            pace = self.pace(stage, model)
            if seconds > 0 and pace is None:
                return None
            work += max(0.0, seconds) * (pace or 0.0)
        devices = self.at_work.mean()
        return work / devices if devices else None

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.started

    @property
    def tokens_per_s(self) -> float:
        return sum(self.tokens.values()) / max(self.seconds, 1e-9)

    def count(self, stage: str) -> dict[str, int]:
        """Units of all models: done and failed (before this run too), of how many, done in this run, left to do."""
        now = sum(n for key, n in self.done.items() if key[0] == stage)
        return {
            "done": self.before[stage] + now,
            "of": self.total[stage],
            "this run": now,
            "failed": self.kept_failed.get(stage, 0) + sum(n for key, n in self.failed.items() if key[0] == stage),
            "left": sum(n for key, n in self.to_do.items() if key[0] == stage),
        }

    def numbers(self) -> dict[str, float]:
        """What trackers plot over time."""
        result: dict[str, float] = {"tokens_per_s": self.tokens_per_s}
        for stage, name in STAGES.items():
            result |= {
                f"{name}_{what}": n for what, n in self.count(stage).items() if what in ("done", "failed", "left")
            }
        eta = self.eta_s()
        return result if eta is None else {**result, "eta_s": eta}

    def line(self) -> str:
        eta, counts = self.eta_s(), {stage: self.count(stage) for stage in STAGES}
        ratios = " · ".join(f"{STAGES[stage]} {n['done']:,}/{n['of']:,}" for stage, n in counts.items())
        return (
            f"[{clock(self.seconds)}] {ratios} · failed {sum(n['failed'] for n in counts.values())} · "
            f"{self.tokens_per_s:,.0f} tokens/s · left {clock(eta) if eta is not None else 'unknown'}{self.silence()}"
        )

    def silence(self) -> str:
        """For how long the store has not answered, where that is worth a word."""
        return f" · the store has not answered for {clock(silent)}" if (silent := self.store_silent_s) > TELL_S else ""

    def against_estimate(self) -> list[dict[str, str | int | float]]:
        """Device seconds estimated of what this run did and those it took, by stage and model."""
        return [
            {
                "stage": stage,
                "model": model,
                "units": self.done[stage, model],
                "tokens": self.tokens[stage, model],
                "estimated_s": self.estimated_s[stage, model],
                "actual_s": actual,
            }
            for (stage, model), actual in self.actual_s.items()
        ]

    def verdict(self) -> str:
        """The estimate against what it took, in one line."""
        parts = []
        for name, some in (*STAGES.items(), ("together", None)):
            rows = [row for row in self.against_estimate() if some is None or row["stage"] == name]
            estimated, actual = (sum(float(row[of]) for row in rows) for of in ("estimated_s", "actual_s"))
            if actual > 0:
                error = f"{(estimated - actual) / actual:+.0%}"
                parts.append(f"{some or name} {clock(estimated)} estimated, {clock(actual)} taken ({error})")
        held = f"held {clock(self.held.device_s)}"  # with what was spent on loading and waiting
        return "device time: " + " · ".join([*(parts or ["nothing was done"]), held])


def begin(plan: Plan, estimates: Estimates) -> Progress:
    """Where a run of the plan begins."""
    total = {TRAIN: len(plan.grid.adapters), SCORE: plan.grid.n_scores}
    counts = dict(zip((TRAIN, SCORE), plan.counts(), strict=True))
    to_do = Counter({(stage, model): n for stage, by_model in counts.items() for model, n in by_model.items()})
    seconds = {}
    for cost in costs(plan, estimates):
        seconds[TRAIN, cost.model], seconds[SCORE, cost.model] = cost.train_s, cost.score_s
    kept = {TRAIN: plan.kept_adapters.total(), SCORE: plan.kept_scores.total()}
    planned = {TRAIN: len(plan.train), SCORE: plan.n_scores}
    before = {stage: total[stage] - planned[stage] - kept[stage] for stage in total}
    return Progress(total, before, to_do, seconds, kept_failed=kept)


TELL_S = 10.0


def clock(seconds: float) -> str:
    """h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
