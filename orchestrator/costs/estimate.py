"""What units will take: from the speed that a store has seen, else from a FLOP model; and what a plan costs.

Seconds are device seconds: a trial of two workers on a GPU each spends two a second. A source or target that a store
has results of takes what it took there, by its size; another one takes its tokens at the model's speed; another model
goes by its parameters and the speed of those measured. Without any measurement FLOPs decide (Kaplan et al. 2020, eq.
2.2, without the attention term): a forward pass costs 2 per parameter and token; training costs 6, and LoRA 4, since
the frozen weights need no gradient of their own. Parameters are there, and here, those outside the embeddings: these
are looked up, and the output head sees only the positions that predict an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.costs.devices import SCORE, TRAIN, held, load_s, of_actors, stages, used
from orchestrator.costs.measured import Measured, train_flops, train_work
from orchestrator.costs.tokens import Shots, SourceTokens, TokenCounter, counter_of, of_searches, of_source, of_targets
from orchestrator.planning.grid import Grid, Part
from orchestrator.planning.plan import Plan
from orchestrator.planning.survey import Survey
from study.cells import Source
from study.config import Recipe, StudyConfig
from study.config.expansion import works
from study.flops import FORWARD, PEAK_FLOPS, UTILISATION
from study.models.resolve import Model
from study.units import AdapterUnit, ComposedAdapter


@dataclass(frozen=True)
class Estimates:
    """Device seconds and tokens by model name: per work of training, per target (in the grid's order) to score.

    `train_tokens` are those learned from, `read_tokens` those validated on too. `load_s` is the wall-clock time in
    which a trainer or an evaluator loads a model; `devices` are those that a trial and an evaluator hold, by stage.
    """

    train_s: Mapping[str, Mapping[str, float]]
    train_tokens: Mapping[str, Mapping[str, int]]
    read_tokens: Mapping[str, Mapping[str, int]]
    score_s: Mapping[str, Sequence[float]]
    score_tokens: Mapping[str, Sequence[int]]
    load_s: Mapping[str, float]
    basis: Mapping[str, str]
    devices: Mapping[str, float]
    cut: Mapping[str, int] = field(default_factory=dict)  # of each work: rows that some model cuts
    rows: Mapping[str, int] = field(default_factory=dict)  # of each work: to learn from, by the model with fewest
    tries: Mapping[str, Mapping[Shots, int]] = field(default_factory=dict)  # tokens of each try of weights, by model

    def gang_s(self, gang: Sequence[AdapterUnit]) -> float:
        """How long a trial trains these, by the clock."""
        return sum(self.train_s[unit.model][unit.work] for unit in gang) / self.devices[TRAIN]

    def part_s(self, part: Part) -> float:
        """Device seconds of a part's scores."""
        return sum(self.score_s[part.model.name][i] for i in part.targets)

    def evaluator_s(self) -> dict[str, list[float]]:
        """How long an evaluator scores each target, by the clock."""
        return {model: [one / self.devices[SCORE] for one in targets] for model, targets in self.score_s.items()}


@dataclass(frozen=True)
class Cost:
    """What is left for one model, in tokens and device seconds. `load_s`: its base loaded once for each stage."""

    model: str
    train_tokens: int
    score_tokens: int
    train_s: float
    score_s: float
    load_s: float
    basis: str

    @property
    def hours(self) -> float:
        return (self.train_s + self.score_s + self.load_s) / 3600


def estimate(
    grid: Grid, survey: Survey, config: StudyConfig, measured: Measured, assumed: Mapping[str, str]
) -> Estimates:
    """What each unit of the grid takes. `assumed` says by stage on which of PEAK_FLOPS, where nothing is measured."""
    train_s: dict[str, dict[str, float]] = {}
    train_tokens: dict[str, dict[str, int]] = {}
    read_tokens: dict[str, dict[str, int]] = {}
    score_s: dict[str, list[float]] = {}
    score_tokens: dict[str, list[int]] = {}
    loads: dict[str, float] = {}
    tries: dict[str, dict[Shots, int]] = {}
    basis: dict[str, str] = {}
    counted: dict[str, tuple[dict[str, SourceTokens], list[int]]] = {}
    to_learn = works(config, survey.examples)
    for model in grid.models:
        counter = counter_of(model)
        if counter.name not in counted:
            counted[counter.name] = _of_works(counter, survey, to_learn), of_targets(counter, survey)
        sources, targets = counted[counter.name]
        name = model.name
        train, score = (_Speed(model, config, measured, assumed, stage) for stage in (TRAIN, SCORE))
        train_tokens[name] = {source: tokens.learned for source, tokens in sources.items()}
        read_tokens[name] = {source: tokens.read for source, tokens in sources.items()}
        score_tokens[name] = targets
        work = {s: train_work(one.learned, one.train, one.validation, to_learn[s][1]) for s, one in sources.items()}
        train_s[name] = {
            one: train.seconds([str(to_learn[one][0])], n * _heavier(config, to_learn[one][1]), n)
            for one, n in work.items()
        }
        score_s[name] = [
            score.seconds([target_id, str(cell)], tokens, survey.target_items[cell])
            for target_id, cell, tokens in zip(grid.target_ids, grid.targets, targets, strict=True)
        ]
        loads[name], tries[name] = load_s(model), of_searches(counter, survey)
        guessed = "" if counter.exact else "; tokens guessed from characters: its tokenizer cannot be read by itself"
        basis[name] = f"training {train.basis()}; scoring {score.basis()}{guessed}"
    held_by = of_actors(config)
    cut = {one: max((of[one].cut for of, _ in counted.values()), default=0) for one in to_learn}
    rows = {one: min((of[one].train for of, _ in counted.values()), default=0) for one in to_learn}
    return Estimates(train_s, train_tokens, read_tokens, score_s, score_tokens, loads, basis, held_by, cut, rows, tries)


def _of_works(
    counter: TokenCounter, survey: Survey, to_learn: Mapping[str, tuple[Source, Recipe]]
) -> dict[str, SourceTokens]:
    """Tokens of each training; those of recipes that cut and go through a source alike are counted once."""
    known: dict[tuple[object, ...], SourceTokens] = {}
    found = {}
    for name, (source, recipe) in to_learn.items():
        key = source, recipe.max_length, recipe.validation, recipe.epochs, recipe.batch_size, recipe.max_steps
        if key not in known:
            known[key] = of_source(counter, survey.examples[source], recipe)
        found[name] = known[key]
    return found


def _heavier(config: StudyConfig, recipe: Recipe) -> float:
    """How much more a token is to train on than by the config's `recipe`."""
    return train_flops(config, recipe) / train_flops(config, config.recipe)


class _Speed:
    """How fast one stage's units of a model go, in device seconds; counts what the estimates go by, for `basis`."""

    def __init__(
        self, model: Model, config: StudyConfig, measured: Measured, assumed: Mapping[str, str], stage: str
    ) -> None:
        self._stage, self._model, self._measured = stage, model.name, measured
        self._ways: Counter[str] = Counter()
        body, peak = model.params - model.embedded, PEAK_FLOPS[assumed[stage]]
        flops = train_flops(config, config.recipe) if stage == TRAIN else FORWARD
        by_flops = f"by FLOP model, {assumed[stage]} at {UTILISATION:.0%} of {peak / 1e12:.4g} TFLOP/s (assumed)"
        self._rate = measured.rate(stage, model.name, body) or (flops * body / (UTILISATION * peak), by_flops)
        resources = stages(config)[stage]
        self._held = held(resources) / used(resources)

    def seconds(self, names: Sequence[str], tokens: float, size: float) -> float:
        """Of a source or target, by its size where it was seen under one of its names, else by its tokens."""
        per_token, way = self._rate
        seconds, way = self._measured.unit(self._stage, self._model, names, size) or (tokens * per_token, way)
        self._ways[way] += 1
        return seconds * self._held

    def basis(self) -> str:
        counts = self._ways.items()
        return ", ".join(way if len(counts) == 1 else f"{way} ({count})" for way, count in counts) or "nothing"


def costs(plan: Plan, estimates: Estimates) -> list[Cost]:
    """What is left of a plan, by model."""
    result = []
    for model in plan.grid.models:
        name, adapters = model.name, [unit.work for unit in plan.train if unit.model == model.name]
        tokens, seconds = estimates.score_tokens[name], estimates.score_s[name]
        whole = (sum(tokens), sum(seconds))
        score_tokens, score_s = 0, 0.0
        for part in plan.parts:
            if part.model.name == name:
                full = len(part.targets) == len(tokens)
                score_tokens += whole[0] if full else sum(tokens[i] for i in part.targets)
                score_s += whole[1] if full else sum(seconds[i] for i in part.targets)
                searched = _searched(part, estimates.tries.get(name, {}))
                score_tokens += searched
                score_s += searched * whole[1] / max(1, whole[0])
        train_tokens = sum(estimates.train_tokens[name][source] for source in adapters)
        train_s = sum(estimates.train_s[name][source] for source in adapters)
        loads = estimates.devices[TRAIN] * bool(adapters) + estimates.devices[SCORE] * bool(score_tokens)
        load_s = estimates.load_s[name] * loads
        result.append(Cost(name, train_tokens, score_tokens, train_s, score_s, load_s, estimates.basis[name]))
    return result


def _searched(part: Part, tries: Mapping[Shots, int]) -> int:
    """Tokens that are read to search the weights of what is put together, before it is scored for the first time."""
    search = part.adapter.composition.search if isinstance(part.adapter, ComposedAdapter) else None
    return 0 if search is None else search.budget * tries.get((search.cell, search.examples), 0)


def sum_of(some: Sequence[Cost]) -> Cost:
    """Of all models."""
    return Cost(
        "all",
        sum(cost.train_tokens for cost in some),
        sum(cost.score_tokens for cost in some),
        sum(cost.train_s for cost in some),
        sum(cost.score_s for cost in some),
        sum(cost.load_s for cost in some),
        "",
    )
