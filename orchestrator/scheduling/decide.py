"""What runs next, and where: pure functions of the resources now, the work that waits or runs, and its seconds.

The main loop asks `decide` at each step. It hands over the resources of the nodes, the `Shape` of a trial and of an
evaluator, and the `Demand`: the gangs that wait or run, and the scoring of each model that can be done now. It gets a
`Decision`: how many trials may run, and how many evaluators each model should have. A trial that runs is never stopped;
which evaluators go and which are started beside it, `surplus` and `missing` say.

Training and scoring share the cluster without a fixed split. The base's scores come first, since every delta waits for
them; then training, since scores wait for adapters. Scoring takes the devices that training does not need, and all of
them once so much scoring waits that no device can run dry before the next gang is trained. A loaded model is worth
keeping: an evaluator stays while its model has work, and another one is started only where it has more to do than to
load.

The other functions decide the rest: in which order gangs are trained (`in_order`), which of them a warm trainer takes
(`next_gang`), how much an evaluator is handed at once (`batch_seconds`), what an autoscaler is asked for (`unmet`). The
simulation (`bench.simulation`) asks the same functions, so a run on a large cluster is tested without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_BATCH_S = 30.0  # seconds of work handed to an evaluator at once: what a lost one can cost
BATCHES_PER_ACTOR = 3  # at least so many batches of what waits for each evaluator, so that they end together
HORIZON_LOADS = 100  # scoring goes before training when each device has so many times a model's loading time to do
HORIZON_GANGS = 4  # and so many times the longest gang's
MOST_SCOUTS = 64  # nodes asked for at once

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Shape:
    """What a trial holds, `workers` bundles that may lie on several nodes, and what an evaluator holds."""

    bundle: Resources
    workers: int
    evaluator: Resources


@dataclass(frozen=True)
class Work:
    """Scoring of one model that can be done now: what waits or is in hand, and who is there to do it."""

    seconds: float
    units: int
    base: bool  # the base model's own scores are among it
    actors: int
    load_s: float


@dataclass(frozen=True)
class Demand:
    """All there is to do now. `longest_gang_s` is of the gangs that wait."""

    gangs_waiting: int
    gangs_running: int
    longest_gang_s: float
    scoring: Mapping[str, Work]


@dataclass(frozen=True)
class Decision:
    """How many trials may run, how many evaluators fit beside them, and how many of them each model should have."""

    trials: int
    room: int
    evaluators: Mapping[str, int]

    def surplus(self, have: Mapping[str, int]) -> dict[str, int]:
        """Evaluators of each model that should go, once idle: they hold what other work needs."""
        too_many = max(0, sum(have.values()) - self.room)
        starved = sum(max(0, count - have.get(model, 0)) for model, count in self.evaluators.items())
        need = too_many + max(0, starved - max(0, self.room - sum(have.values())))
        result = {}
        for model, count in have.items():
            result[model] = min(need, max(0, count - self.evaluators.get(model, 0)))
            need -= result[model]
        return result

    def missing(self, have: Mapping[str, int]) -> dict[str, int]:
        """Evaluators of each model that should be started, as far as there is room beside those that are there."""
        free = max(0, self.room - sum(have.values()))
        result = {}
        for model, count in self.evaluators.items():
            result[model] = min(free, max(0, count - have.get(model, 0)))
            free -= result[model]
        return result


def decide(
    nodes: Sequence[Resources], shape: Shape, demand: Demand, least: int = 0, most: int | None = None
) -> Decision:
    """Share the cluster out. `least` and `most` bound the number of evaluators; `least` are kept even when idle."""
    trials = _trials(nodes, shape, demand, most)
    room = beside(nodes, shape, trials)
    room = room if most is None else min(room, most)
    return Decision(trials, room, spread(demand.scoring, room, least))


@dataclass(frozen=True)
class Unmet:
    """How many more trials and evaluators would start now if there were nodes for them."""

    trials: int
    evaluators: int


def unmet(decision: Decision, demand: Demand, most: int | None = None) -> Unmet:
    """What an autoscaler is to be asked for."""
    trials = max(0, demand.gangs_waiting + demand.gangs_running - decision.trials)
    useful = sum(spread(demand.scoring, MOST_SCOUTS if most is None else min(most, MOST_SCOUTS)).values())
    return Unmet(min(trials, MOST_SCOUTS), max(0, useful - max(0, decision.room)))


def beside(nodes: Sequence[Resources], shape: Shape, trials: int) -> int:
    """How many evaluators fit beside so many trials; -1 where the trials themselves do not fit."""
    left, free = trials * shape.workers, 0
    for node in nodes:
        bundles = min(left, fits(node, {}, shape.bundle))
        left -= bundles
        free += fits(node, {name: amount * bundles for name, amount in shape.bundle.items()}, shape.evaluator)
    return free if left == 0 else -1


def fits(total: Resources, held: Resources, wanted: Resources) -> int:
    """How many times `wanted` fits into `total` beside what is `held`."""
    slack = 1e-9
    return max(
        0, int(min((total.get(name, 0.0) - held.get(name, 0.0) + slack) // amount for name, amount in wanted.items()))
    )


def _trials(nodes: Sequence[Resources], shape: Shape, demand: Demand, most: int | None) -> int:
    trials = sum(fits(node, {}, shape.bundle) for node in nodes) // shape.workers
    trials = min(trials, demand.gangs_waiting + demand.gangs_running)
    work = demand.scoring.values()
    bases = sum(one.base for one in work)
    reserve, floor = (bases, 0) if bases else (int(any(one.units for one in work)), 1)
    places = max(1, beside(nodes, shape, 0))
    ahead = sum(one.seconds for one in work) / places
    horizon = max([HORIZON_GANGS * demand.longest_gang_s, *(HORIZON_LOADS * one.load_s for one in work)])
    if ahead > horizon:
        reserve, floor = places, 0
    elif ahead > horizon / 4 and any(one.actors and one.units for one in work):
        # the evaluators that are there go on, so that the two do not take turns all the time
        reserve, floor = max(reserve, sum(min(one.actors, one.units) for one in work)), 0
    reserve = reserve if most is None else min(reserve, most)
    while trials > floor and beside(nodes, shape, trials) < min(reserve, places):
        trials -= 1
    return trials


def spread(scoring: Mapping[str, Work], room: int, least: int = 0) -> dict[str, int]:
    """How many evaluators each model should have: never more than it has units.

    A model whose base waits gets one first; those that are loaded stay; what is left goes one at a time to the model
    with the most seconds per evaluator, as long as each would work longer than it loads.
    """
    by_work = sorted(scoring, key=lambda model: (not scoring[model].actors, -scoring[model].seconds, model))
    wanted = dict.fromkeys(by_work, 0)
    left = room
    for first in (True, False):
        for model in by_work:
            work = scoring[model]
            more = int(work.base and work.units > 0) if first else min(work.actors, work.units) - wanted[model]
            more = max(0, min(more, left))
            wanted[model] += more
            left -= more
    while left > 0:
        open_models = [
            model
            for model in by_work
            if wanted[model] < scoring[model].units
            and (
                not wanted[model]
                or sum(wanted.values()) < least
                or scoring[model].seconds / wanted[model] > scoring[model].load_s
            )
        ]
        if not open_models:
            break
        wanted[max(open_models, key=lambda model: scoring[model].seconds / (wanted[model] + 1))] += 1
        left -= 1
    return wanted


def batch_seconds(waiting_s: float, actors: int) -> float:
    """Seconds of work to hand out next, of what waits for a model: less towards the end, so that all end together."""
    return min(MOST_BATCH_S, waiting_s / (BATCHES_PER_ACTOR * max(1, actors)))


def next_gang(waiting: Sequence[str], warm: str | None) -> int:
    """Which of the gangs that wait, given by their models, a trainer takes that has a model loaded: its first."""
    return waiting.index(warm) if warm in waiting else 0


def in_order(models: Sequence[str], chains: Sequence[float]) -> list[int]:
    """The order in which to train gangs, given each one's model and its chain: seconds to train it and to score it.

    Models with the longest chains first, so that the work behind the last gang is short; one after another, so that a
    trainer seldom loads another base; within a model as planned, seed by seed.
    """
    longest: dict[str, float] = {}
    for model, chain in zip(models, chains, strict=True):
        longest[model] = max(chain, longest.get(model, 0.0))
    return sorted(range(len(models)), key=lambda i: (-longest[models[i]], models[i]))
