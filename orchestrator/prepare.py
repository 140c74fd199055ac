"""Planning a study: what there is to do, in the light of its data, its store and what was measured. Starts nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evaluators.items.item import check_supported
from orchestrator.costs.devices import kind, stages
from orchestrator.costs.estimate import Estimates, estimate
from orchestrator.costs.measured import Measured, measure, merged
from orchestrator.failures import lasting
from orchestrator.planning.grid import Grid, expand
from orchestrator.planning.plan import Plan, plan, without
from orchestrator.planning.survey import Survey, survey
from study.config import StudyConfig
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, StoreRefused, damaged
from study.models.given import resolve_existing
from study.models.resolve import Model
from study.store.contents import Damaged
from study.store.filesystem import trouble
from study.store.records import FailureRecord, StoredAdapter, StoredModel, StudyFile
from study.store.schema import OtherVersion
from study.store.store import Store
from study.store.study_file import commit, read_study, versions


@dataclass(frozen=True)
class Prepared:
    """What there is to do, and what planning has found out. `left` are failures of earlier runs, left as they are."""

    todo: Plan
    survey: Survey
    estimates: Estimates
    left: tuple[FailureRecord, ...]


def prepare(
    config: StudyConfig,
    library: TaskLibrary,
    models: Sequence[Model],
    store: Store,
    assumed: Mapping[str, str],
    options: argparse.Namespace,
    warn: Callable[[str], None],
) -> Prepared:
    """Look at the data and the store, and plan. A dry run writes nothing. Raises ConfigError."""
    kinds = {stage: kind(resources) for stage, resources in stages(config).items()}
    others = [_calibration(uri, kinds) for uri in options.calibrate_from]
    found = survey(config, library, check_supported, warn)
    existing = resolve_existing(config, models)
    grid = expand(config, models, found.sources, found.targets, existing)
    try:
        trained = store.trained()
        _check_names(store, grid, trained)
        if not options.dry_run:
            store.write_indexes()
        todo, own = plan(grid, trained, store.scored()), measure(store, kinds)
        failed = {} if options.retry_failed else lasting(store.failures())
    except OtherVersion as error:
        raise ConfigError("store", store.uri, "is of another release", str(error)) from error
    except Damaged as error:
        raise damaged("store", store.uri, error) from error
    except StoreRefused:
        raise
    except OSError as error:
        raise trouble(store.uri, error) from error
    todo, left = without(todo, {unit_id: failure.unit for unit_id, failure in failed.items()})
    estimates = estimate(grid, found, config, merged([own, *others]), assumed)
    return Prepared(todo, found, estimates, tuple(failed[unit_id] for unit_id in sorted(left)))


def _check_names(store: Store, grid: Grid, trained: Mapping[str, str]) -> None:
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


def _calibration(uri: str, kinds: Mapping[str, str]) -> Measured:
    """What a store to calibrate from has seen. Raises ConfigError for one that holds nothing or cannot be read."""
    store, fix = Store(uri), "name the store of a study that was run, or leave it out"
    try:
        store.check_reachable()
        if read_study(store) is None:
            raise ConfigError("--calibrate-from", uri, "holds no study", fix)
        return measure(store, kinds)
    except ConfigError as error:
        raise ConfigError("--calibrate-from", uri, error.problem, error.fix) from error
    except OtherVersion as error:
        raise ConfigError("--calibrate-from", uri, "is of another release", f"{error}; or leave it out") from error
    except Damaged as error:
        raise damaged("--calibrate-from", uri, error) from error
    except OSError as error:
        meant = trouble(store.uri, error)
        raise ConfigError("--calibrate-from", uri, meant.problem, meant.fix) from error


def check_store(store: Store, config: StudyConfig, dry_run: bool) -> None:
    """Raise ConfigError for a store that cannot be used, or not for this."""
    store.check_reachable()
    try:
        before = read_study(store)
    except Damaged as error:
        raise damaged("store", store.uri, error) from error
    except OSError as error:
        raise trouble(store.uri, error) from error
    if before is not None and config.trial_run and not before.is_trial_run:
        raise ConfigError(
            "--limit",
            store.uri,
            "would turn a full study's store into a trial run",
            "name another one: --set store=runs/trial",
        )
    if not dry_run:
        store.check_writable()


def study_file(config: StudyConfig, grid: Grid) -> StudyFile:
    """What the store is told of a study that is about to run."""
    return StudyFile(
        config.model_dump(mode="json"),
        tuple(StoredModel(m.name, m.revision, m.identity, m.dtype, m.params, m.embedded) for m in grid.models),
        tuple(StoredAdapter(a.name, a.adapter_id, a.model, a.folder) for a in grid.existing),
        versions(),
        commit(),
    )
