"""The ids of the presets that put adapters together or learn from data of other shapes: a release changes none."""

from __future__ import annotations

import pytest

from evaluators.items.item import check_supported
from orchestrator.planning.grid import Grid, combined, expand
from orchestrator.planning.modules import with_modules
from orchestrator.planning.survey import survey
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.identity import digest
from study.models.resolve import resolve_all

PINNED = {  # digests of the ids of adapters, of what is made of them, of targets, and of scores
    "compositions/study": ("7d3b5b1a58ee0a0b", "5a14f6b4d104d9f8", "f03f0cde4d18cb6a", "ef3877ffd60c829f"),
    "compositions/schedules": ("337546bbcfbd9402", "b872abcf5ac9a4ef", "6735ef50c65c6d38", "0107fd88bf682c90"),
    "shapes/study": ("764f9e2219dbe0ff", "4f53cda18c2baa0c", "0d93fed260d0a3dc", "3c38cbcfafb3d8c6"),
}


def planned(preset: str) -> Grid:
    config = load(preset)
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    models = with_modules(config, resolve_all(config))
    alone = expand(config, models, found.sources, found.targets, (), found.own_shots)
    return combined(alone, config, found.shots)


@pytest.mark.parametrize("preset", PINNED)
def test_a_preset_has_the_ids_that_it_always_had(preset: str) -> None:
    grid = planned(f"examples/{preset}.yaml")
    adapters = [[one.model, str(one.source), one.seed, one.recipe, one.adapter_id] for one in grid.adapters]
    made = [[one.combination.name, one.strength, one.adapter.recipe, one.adapter.adapter_id] for one in grid.names]
    targets = [[str(cell), name] for cell, name in zip(grid.targets, grid.target_ids, strict=True)]
    scores = [unit.score_id for part in grid.parts() for unit in grid.units(part)]
    found = tuple(digest(sorted(map(str, some))) for some in (adapters, made, targets, scores))
    assert found == PINNED[preset]
