"""A study from its file to its store within this process, without Ray: for tests of what it comes to.

Planned as a sweep plans it; then gang after gang is trained by the one worker of this process, and all is scored by one
evaluator of each model. Nothing is tried again.
"""

from __future__ import annotations

from pathlib import Path

from evaluators.evaluator import Evaluator, Settings
from orchestrator.cluster.beats import Pulse
from orchestrator.options import Options
from orchestrator.planning.plan import Plan
from orchestrator.prepare import Prepared, begin, check, prepare
from orchestrator.training.context import TrialContext
from orchestrator.training.workers import TrainerProcess
from study.config.file import load
from tests.support.training import shared_worker


class Trainer(TrainerProcess):
    """A trainer whose beats nobody hears."""

    def __init__(self) -> None:
        self._pulse, self._worker = Pulse(lambda beat: None), shared_worker()


def run_alone(file: Path, *arguments: str) -> Prepared:
    """Do what `orchestrator.sweep` does with these arguments, to the end; any failure fails the test."""
    options = Options.parse([str(file), *arguments])
    config = load(options.config, options.overrides, options.limit)
    found = prepare(check(config, options), options, _unexpected)
    assert not found.broken, found.broken
    begin(found, _unexpected)
    _train(found)
    _score(found)
    return found


def _train(found: Prepared) -> None:
    survey, grid = found.survey, found.plan.grid
    units = {unit.adapter_id: unit for unit in grid.adapters}
    models = {model.name: model for model in grid.models}
    context = TrialContext(found.config, models, units, survey.examples, found.store, survey.counts, survey.prompts)
    for gang in _gangs(found.plan, found):
        ended = Trainer().train(context, gang, found.config.training, None)
        assert not ended.failed, ended.failed


def _gangs(plan: Plan, found: Prepared) -> list[list[str]]:
    """Adapters of a model and a recipe, which are trained together."""
    gangs: dict[tuple[str, str], list[str]] = {}
    for unit in plan.train:
        recipe = found.config.recipe_of(unit.source, unit.recipe)
        gangs.setdefault((unit.model, recipe.model_dump_json()), []).append(unit.adapter_id)
    return list(gangs.values())


def _score(found: Prepared) -> None:
    grid = found.plan.grid
    for model in grid.models:
        evaluator = Evaluator(model, found.store, Settings.of(found.config))
        units = [unit for part in found.plan.parts if part.model == model for unit in grid.units(part)]
        for result in evaluator.score(units):
            assert result.ok, result.message


def _unexpected(warning: str) -> None:
    raise AssertionError(warning)
