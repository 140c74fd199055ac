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
    "compositions/data_or_adapter": ("f519413b03a3994d", "cb32131aa92a43f5", "3193872688f9ac8b", "afb9e16902782123"),
    "shapes/completions": ("2c9cde977ac8ce42", "4f53cda18c2baa0c", "0761024e9d381472", "a115dc393e798166"),
    "shapes/group": ("d8335012c905e2cc", "4f53cda18c2baa0c", "017b43c0d9e51541", "fdc7bbf9cfebf90e"),
    "shapes/raw_text": ("133a1f82f0dc2ae1", "4f53cda18c2baa0c", "d678a5b3782aa59c", "97c5e52d5fd6d004"),
    "shapes/summaries": ("dd527538592745dd", "4f53cda18c2baa0c", "64f4128cf55f9772", "6b6bf9c29f5624c7"),
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
