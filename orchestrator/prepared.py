"""Planning a study: what there is to do, in the light of its data, its store and what was measured. Starts nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from polars.exceptions import PolarsError
from pyarrow import ArrowException

from evaluators.targets import check_supported
from orchestrator.devices import kind, stages
from orchestrator.estimate import Estimates, estimate
from orchestrator.failures import lasting
from orchestrator.grid import expand
from orchestrator.measured import Measured, measure, merged
from orchestrator.plan import Plan, plan, without
from orchestrator.survey import Survey, survey
from study.config import StudyConfig
from study.errors import ConfigError
from study.existing import resolve_existing
from study.models import Model
from study.schema import OtherVersion
from study.store import STUDY_FILE, Store
from study.tasks import TaskLibrary


@dataclass(frozen=True)
class Prepared:
    """What there is to do, and what planning has found out. `left` are failures of earlier runs, left as they are."""

    todo: Plan
    survey: Survey
    estimates: Estimates
    left: tuple[Mapping[str, Any], ...]


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
        if not options.dry_run:
            store.write_indexes()
        todo, own = plan(grid, store.trained(), store.scored()), measure(store, kinds)
        failed = {} if options.retry_failed else lasting(store.failures())
    except OtherVersion as error:
        raise ConfigError("store", store.uri, "is of another release", str(error)) from error
    except (ValueError, KeyError) as error:  # no run has written a record or a part like this
        raise ConfigError(
            "store",
            store.uri,
            f"holds a damaged file ({error})",
            f"python -m study.check {store.uri} --repair says which, and has what was in it done again",
        ) from error
    todo, left = without(todo, {unit_id: str(failure["unit"]) for unit_id, failure in failed.items()})
    estimates = estimate(grid, found, config, merged([own, *others]), assumed)
    return Prepared(todo, found, estimates, tuple(failed[unit_id] for unit_id in sorted(left)))


def _calibration(uri: str, kinds: Mapping[str, str]) -> Measured:
    """What a store to calibrate from has seen. Raises ConfigError for one that holds nothing or cannot be read."""
    store, fix = Store(uri), "name the store of a study that was run, or leave it out"
    try:
        store.check_reachable()
        if not store.exists(STUDY_FILE):
            raise ConfigError("--calibrate-from", uri, "holds no study", fix)
        return measure(store, kinds)
    except ConfigError as error:
        raise ConfigError("--calibrate-from", uri, error.problem, error.fix) from error
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, ArrowException, PolarsError) as error:
        problem = f"cannot be read, or holds a damaged file ({type(error).__name__}: {error})"
        raise ConfigError("--calibrate-from", uri, problem, f"python -m study.check {uri}, or leave it out") from error


def check_store(store: Store, config: StudyConfig, dry_run: bool) -> None:
    """Raise ConfigError for a store that cannot be used, or not for this."""
    store.check_reachable()
    try:
        before = yaml.safe_load(store.read(STUDY_FILE)) if store.exists(STUDY_FILE) else None
    except (OSError, ValueError) as error:
        raise ConfigError(
            "store", store.uri, f"cannot be read ({error})", "name a folder or bucket you may use"
        ) from error
    if before is not None and config.trial_run and not before["config"].get("trial_run"):
        raise ConfigError(
            "--limit",
            store.uri,
            "would turn a full study's store into a trial run",
            "name another one: --set store=runs/trial",
        )
    if not dry_run:
        store.check_writable()
