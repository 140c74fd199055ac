"""A run in virtual time, without Ray: what the scheduler's decisions come to on a cluster that changes.

It asks `orchestrator.scheduling.decide` and `orchestrator.scheduling.backlog`
as the driver does and lets invented seconds pass. What comes out is the makespan, and
`lower_bound`, below which no schedule can get.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from orchestrator.planning.grid import Grid, Part
from orchestrator.scheduling.backlog import Backlog, Batch
from orchestrator.scheduling.decide import Demand, Resources, Shape, Work, decide, in_order, next_gang

Duration = Callable[[str, str, float], float]  # of a stage (train, score) of a model, given its estimate: what it takes


@dataclass(frozen=True)
class Costs:
    """Estimated seconds, by model name: to load it, per target in the grid's order; and per gang to train it."""

    load: Mapping[str, float]
    score: Mapping[str, Sequence[float]]
    gangs: Sequence[tuple[tuple[Part, ...], float]]  # the parts that a gang's adapters unlock, seconds to train it


@dataclass(frozen=True)
class Change:
    """A node joins at a time, in seconds, or leaves."""

    at: float
    node: str
    resources: Resources | None  # None: it leaves


@dataclass
class _Job:
    """Something that holds resources of nodes: a trial of a gang, or an evaluator."""

    model: str
    nodes: list[str]
    gang: tuple[tuple[Part, ...], float] | None = None
    batch: Batch | None = None
    ready: bool = True
    gone: bool = False


@dataclass
class Outcome:
    """What a simulated run came to. `lost_s`: seconds of work that leaving nodes cost."""

    makespan: float = 0.0
    busy_s: float = 0.0
    loads: int = 0
    lost_s: float = 0.0
    first_base: float = 0.0
    scores: int = 0
    adapters: int = 0
    starts: dict[str, float] = field(default_factory=dict)  # when each node first had something to do


class Simulation:
    """One run of a grid from the start."""

    def __init__(self, grid: Grid, shape: Shape, costs: Costs, changes: Sequence[Change], takes: Duration) -> None:
        self._shape, self._costs, self._takes = shape, costs, takes
        self._backlog = Backlog(costs.score, grid.unit)
        self._backlog.add(part for part in grid.parts() if part.adapter is None)
        chains = [seconds + sum(sum(costs.score[p.model.name]) for p in parts) for parts, seconds in costs.gangs]
        order = in_order([parts[0].model.name for parts, _ in costs.gangs], chains)
        self._gangs = [costs.gangs[i] for i in order]
        self._free: dict[str, dict[str, float]] = {}
        self._nodes: dict[str, Resources] = {}
        self._jobs: list[_Job] = []
        self._warm: list[tuple[str, list[str]]] = []  # trainers that have just ended: their model, where they are
        self._events: list[tuple[float, int, Any]] = [(c.at, i, c) for i, c in enumerate(changes)]
        heapq.heapify(self._events)
        self._sequence = len(changes)
        self._now = 0.0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            if isinstance(event, Change):
                self._change(event)
            elif not event[0].gone:
                self._ended(*event)
            if self._events and self._events[0][0] == self._now:
                continue
            self._schedule()
            if not (self._gangs or self._backlog.models() or any(job.gang or job.batch for job in self._jobs)):
                break
        self.outcome.makespan = self._now
        return self.outcome

    def _schedule(self) -> None:
        trials = [job for job in self._jobs if job.gang]
        pool = [job for job in self._jobs if not job.gang]
        have = Counter(job.model for job in pool)
        work = {}
        for model in dict.fromkeys([*self._backlog.models(), *have]):
            hands = [job.batch for job in pool if job.model == model and job.batch]
            base = self._backlog.has_base(model) or any(unit.adapter is None for b in hands for unit in b.units)
            seconds = self._backlog.seconds(model, hands)
            units = self._backlog.units(model) + sum(len(batch.units) for batch in hands)
            work[model] = Work(seconds, units, base, have[model], self._costs.load[model])
        longest = max((seconds for _, seconds in self._gangs), default=0.0)
        demand = Demand(len(self._gangs), len(trials), longest, work)
        decision = decide(list(self._nodes.values()), self._shape, demand)
        surplus = decision.surplus(have)
        for job in [job for job in pool if job.ready and job.batch is None]:
            if surplus.get(job.model):
                surplus[job.model] -= 1
                have[job.model] -= 1
                self._release(job)
        for _ in range(decision.trials - len(trials)):
            if self._gangs and (nodes := self._place(self._shape.bundle, self._shape.workers)):
                warm = next((model for model, where in self._warm if where == nodes), None)
                gang = next_gang([parts[0].model.name for parts, _ in self._gangs], warm)
                self._train(self._gangs.pop(gang), nodes)
        self._warm = []
        for model, count in decision.missing(have).items():
            for _ in range(count):
                if nodes := self._place(self._shape.evaluator, 1):
                    job = _Job(model, nodes, ready=False)
                    self._jobs.append(job)
                    self._load(job, "load", self._costs.load[model])
        for job in self._jobs:
            if job.gang is None and job.ready and job.batch is None:
                job.batch = self._backlog.take(job.model, have[job.model], self._now)
                if job.batch:
                    self._after(self._takes("score", job.model, job.batch.seconds), job, "batch")

    def _train(self, gang: tuple[tuple[Part, ...], float], nodes: list[str]) -> None:
        model = gang[0][0].model.name
        warm = next((one for one in self._warm if one == (model, nodes)), None)
        if warm:
            self._warm.remove(warm)
        job = _Job(model, nodes, gang)
        self._jobs.append(job)
        load = 0.0 if warm else self._costs.load[model]
        self.outcome.loads += warm is None
        self._after(load + self._takes("train", model, gang[1]), job, "gang")

    def _load(self, job: _Job, what: str, seconds: float) -> None:
        self.outcome.loads += 1
        self._after(seconds, job, what)

    def _after(self, seconds: float, job: _Job, what: str) -> None:
        for node in job.nodes:
            self.outcome.starts.setdefault(node, self._now)
        self._sequence += 1
        heapq.heappush(self._events, (self._now + seconds, self._sequence, (job, what, self._now)))

    def _ended(self, job: _Job, what: str, began: float) -> None:
        self.outcome.busy_s += self._now - began
        if what == "load":
            job.ready = True
        elif what == "gang":
            assert job.gang is not None
            self.outcome.adapters += len(job.gang[0])
            self._backlog.add(job.gang[0])
            self._warm.append((job.model, job.nodes))
            self._release(job)
        elif job.batch is not None:
            self.outcome.scores += len(job.batch.units)
            if any(unit.adapter is None for unit in job.batch.units):
                self.outcome.first_base = self._now
            job.batch = None

    def _place(self, wanted: Resources, times: int) -> list[str]:
        """Nodes that hold `wanted` so many times, resources taken; empty where they do not."""
        nodes: list[str] = []
        for node, free in self._free.items():
            while len(nodes) < times and all(free.get(n, 0.0) + 1e-9 >= amount for n, amount in wanted.items()):
                nodes.append(node)
                for name, amount in wanted.items():
                    free[name] -= amount
        if len(nodes) < times:
            self._give(nodes, wanted)
            return []
        return nodes

    def _release(self, job: _Job) -> None:
        self._jobs.remove(job)
        self._give(job.nodes, self._shape.bundle if job.gang else self._shape.evaluator)

    def _give(self, nodes: Sequence[str], resources: Resources) -> None:
        for node in nodes:
            for name, amount in resources.items():
                if node in self._free:
                    self._free[node][name] += amount

    def _change(self, change: Change) -> None:
        if change.resources is not None:
            self._nodes[change.node] = change.resources
            self._free[change.node] = dict(change.resources)
            return
        del self._nodes[change.node], self._free[change.node]
        for job in [job for job in self._jobs if change.node in job.nodes]:
            job.gone = True
            if job.gang:
                self._gangs.insert(0, job.gang)
                self.outcome.lost_s += job.gang[1]
            elif job.batch:
                self._backlog.put_back(job.batch)
                self.outcome.lost_s += job.batch.seconds
            self._release(job)


def lower_bound(grid: Grid, costs: Costs, places: int) -> float:
    """Seconds below which no schedule on `places` devices can get.

    The work and the loads without which it cannot be done, shared out evenly; or the longest chain: load a model, train
    a gang, load the model to score, one score of it.

    Loads count since no work is done on a device before the model is in its memory. Within T seconds a device has at
    most T less the load for a model, so the model's W seconds of work need W / (T - load) devices, rounded up, each of
    which loads it at least once, whatever the order and whether to train or to score.
    """
    work = dict.fromkeys(costs.load, 0.0)
    for part in grid.parts():
        work[part.model.name] += sum(costs.score[part.model.name])
    for parts, seconds in costs.gangs:
        work[parts[0].model.name] += seconds

    def fits(within: float) -> bool:
        devices = {model: ceil(seconds / (within - costs.load[model])) for model, seconds in work.items()}
        return sum(work[model] + n * costs.load[model] for model, n in devices.items()) <= places * within

    chain = max(
        (2 * costs.load[p[0].model.name] + seconds + max(costs.score[p[0].model.name]) for p, seconds in costs.gangs),
        default=0.0,
    )
    low = max(costs.load.values())
    high = low + sum(work.values()) + sum(costs.load.values())  # one device is enough
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return max(low, chain)
