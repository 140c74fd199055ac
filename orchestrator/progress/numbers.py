"""How far a run is: counts, tokens and seconds by stage and model, and the time that is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.costs.estimate import Estimates, costs
from orchestrator.costs.pace import Key, Paces, UnderWay, left_s
from orchestrator.planning.plan import Plan
from orchestrator.progress.meter import Meter, Speed
from study.store.records import FailureRecord

STAGES = {TRAIN: "adapters", SCORE: "scores"}
PLANNED = 0.8, 1.25  # paces that are as good as the plan's


@dataclass
class Progress:
    """The numbers of a run. Counts are of units; `estimated_s` and `actual_s` are device seconds of what is done.

    `at_work` are the devices of what runs or starts, `held` those of every process there is; `evaluators` how many
    scoring actors each model has. `kept_failed` are units that failed in earlier runs, and what waited for them.
    `tokens_each_s` are read in an estimated device second.
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
    tokens_each_s: Mapping[Key, float] = field(default_factory=dict)
    under_way: Sequence[UnderWay] = ()
    at_work: Meter = field(default_factory=Meter)
    held: Meter = field(default_factory=Meter)
    speed: Speed = field(default_factory=Speed)
    evaluators: Counter[str] = field(default_factory=Counter)
    failures: list[FailureRecord] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    store_silent_s: float = 0.0

    def __post_init__(self) -> None:
        self._paces, self._own, self._soon = Paces(self.to_do_s), Paces(self.to_do_s), 0.0

    def finished(
        self, stage: str, model: str, tokens: int, estimated_s: float, actual_s: float, around: float = 1.0
    ) -> None:
        """Book a unit that is done. `around`: how many times what it took has passed for it."""
        key = stage, model
        self.done[key] += 1
        self.tokens[key] += tokens
        self.estimated_s[key] = self.estimated_s.get(key, 0.0) + estimated_s
        self.actual_s[key] = self.actual_s.get(key, 0.0) + actual_s
        self._paces.book(key, estimated_s, actual_s * around)
        self._own.book(key, estimated_s, actual_s)
        self._take(key, 1, estimated_s)

    def hold(self, at_work: float, held: float, under_way: Sequence[UnderWay] = (), soon: float = 0.0) -> None:
        """Note how many devices are at work, held, and soon at work; and what is under way."""
        now = time.monotonic()
        self.at_work.set(now, at_work)
        self.held.set(now, held)
        self.under_way, self._soon = under_way, soon
        pace = self._paces.by_key(under_way)
        read = sum(self._known_s(one, pace[one.key]) * self.tokens_each_s.get(one.key, 0.0) for one in under_way)
        self.speed.set(now, sum(self.tokens.values()) + read)

    def _known_s(self, one: UnderWay, pace: float) -> float:
        """What of its estimate is done: as far as it says, and once any like it has ended by the clock too."""
        return one.done_s(pace) if one.key in self.actual_s else one.share * one.estimated_s

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

    def pace(self, stage: str, model: str) -> float:
        """Actual over estimated seconds of what is left of a model in a stage, as far as that can be told.

        What passes around units is left out: it does not get less with them.
        """
        return self._own.by_key(self.under_way).get((stage, model), 1.0)

    def eta_s(self) -> float | None:
        """Seconds left, on as many devices as are at work in these minutes, or will be; None where none is."""
        devices = max(self.at_work.mean(), self._soon)
        return left_s(self.to_do_s, self.under_way, self._paces, devices) if devices else None

    def left(self) -> str:
        """The time left in words, and what it goes by where that is not what the plan says."""
        eta = self.eta_s()
        if eta is None:
            return "waiting for devices"
        pace = self._paces.by_key(self.under_way)
        planned = sum(self.to_do_s.values())
        slower = sum(seconds * pace.get(key, 1.0) for key, seconds in self.to_do_s.items()) / planned if planned else 1
        least, most = PLANNED
        if not least <= slower <= most:
            times = f"{slower:,.0f}" if slower >= 10 else f"{slower:.2g}"
            return f"about {clock(eta)} left ({times} times as planned)"
        is_seen = self.actual_s or any(one.spent_s for one in self.under_way)
        return f"about {clock(eta)} left" + ("" if is_seen else ", as planned")

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.started

    @property
    def tokens_per_s(self) -> float:
        """In the last minute, with what is under way."""
        return self.speed.per_s()

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
        counts = {stage: self.count(stage) for stage in STAGES}
        ratios = " · ".join(f"{STAGES[stage]} {n['done']:,}/{n['of']:,}" for stage, n in counts.items())
        return (
            f"[{clock(self.seconds)}] {ratios} · failed {sum(n['failed'] for n in counts.values())} · "
            f"{self.pulse()}{self.left()}{self.silence()}"
        )

    def pulse(self) -> str:
        """Tokens per second; before any are known, whether models are still loaded."""
        if self.tokens or self.tokens_per_s:
            return f"{self.tokens_per_s:,.0f} tokens/s · "
        return "" if any(one.works for one in self.under_way) else "loading · "

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
    seconds, tokens = {}, {}
    for cost in costs(plan, estimates):
        seconds[TRAIN, cost.model], seconds[SCORE, cost.model] = cost.train_s, cost.score_s
        tokens[TRAIN, cost.model], tokens[SCORE, cost.model] = cost.train_tokens, cost.score_tokens
    each_s = {key: tokens[key] / took for key, took in seconds.items() if took}
    kept = {TRAIN: plan.kept_adapters.total(), SCORE: plan.kept_scores.total()}
    planned = {TRAIN: len(plan.train), SCORE: plan.n_scores}
    before = {stage: total[stage] - planned[stage] - kept[stage] for stage in total}
    return Progress(total, before, to_do, seconds, kept_failed=kept, tokens_each_s=each_s)


TELL_S = 10.0


def clock(seconds: float) -> str:
    """h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
