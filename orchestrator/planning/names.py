"""Names that a store knows already: one is in no identity, but in folders and rows, so it may not change.

Asked before anything is planned: what has another name now would not be found.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.planning.grid import Grid
from study.errors import ConfigError
from study.store.layout import stage_in
from study.store.records import StudyFile
from study.store.store import Store
from study.store.study_file import read_study


def check_names(store: Store, grid: Grid, trained: Mapping[str, str]) -> None:
    """Raise ConfigError for a model that the store knows by another name: its adapters would not be found.

    A name is in no identity, but in folders and rows. `trained` says it for a model that the last config did not have.
    """
    identities = {model.name: model.identity for model in grid.models}
    known = {identities[unit.model]: trained[unit.adapter_id] for unit in grid.adapters if unit.adapter_id in trained}
    study = read_study(store) or StudyFile({})
    known |= {entry.identity: entry.name for entry in study.models if entry.identity is not None}
    for i, model in enumerate(grid.models):
        old = known.get(model.identity, model.name)
        if old != model.name:
            raise ConfigError(
                f"models[{i}].name", model.name, f"this store knows the model as {old}", f"write `name: {old}`"
            )


def check_stages(grid: Grid) -> None:
    """Raise ConfigError for a stage that the store knows by another name, as for a model."""
    for unit in grid.adapters:
        old = stage_in(unit.folder)
        if unit.source.name is not None and old != unit.source.name:
            problem = f"this store knows the adapters of {unit.source} as {old}"
            raise ConfigError("sources", unit.source.name, problem, f"write `name: {old}`")
