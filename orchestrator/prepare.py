"""Preparing a study: from its config to what there is to do, in the light of its data and its store. Runs nothing.

`check` asks for what is wrong before anything is planned, `prepare` plans, and `begin` writes into the store what a run
of the plan leaves there before its first unit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from evaluators.items.item import check_supported
from orchestrator.costs.devices import assumed, kind, stages
from orchestrator.costs.estimate import Estimates, estimate
from orchestrator.costs.measured import Measured, measure, merged
from orchestrator.costs.prompts import Cut, cut_prompts
from orchestrator.costs.tokenised import tokenised
from orchestrator.failures import lasting
from orchestrator.options import Options
from orchestrator.planning.classes import check_classes
from orchestrator.planning.given import check_plain, check_starts, with_left_out
from orchestrator.planning.grid import Grid, combined, expand, placed
from orchestrator.planning.groups import groups
from orchestrator.planning.modules import check_kinds, with_modules
from orchestrator.planning.names import check_names, check_stages
from orchestrator.planning.plan import Plan, plan, without
from orchestrator.planning.seen import seen
from orchestrator.planning.spent import NUMBERS, TEXTS, Spent, kept_epochs, took_in
from orchestrator.planning.survey import Survey, broken_id, survey
from orchestrator.planning.translations import check_translated
from orchestrator.progress import trackers
from orchestrator.progress.watchdog import answering
from study.config import StudyConfig
from study.config.expansion import cells_used, combinations, held_out, learned
from study.data.tasks import TaskLibrary
from study.errors import ConfigError
from study.faults.kinds import BAD_DATA
from study.models.fits import check_fits
from study.models.given import put_into, resolve_existing
from study.models.resolve import Model, resolve_all
from study.store.checksums import note
from study.store.compaction import compact, is_due
from study.store.contents import Damaged
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE, model_in
from study.store.parts import undisturbed
from study.store.readable import no_study, readable
from study.store.records import FailureRecord, StoredAdapter, StoredModel, StudyFile
from study.store.seen import Groups, renew
from study.store.store import Store
from study.store.study_file import commit, read_study, versions, write_study
from trainers import settings


@dataclass(frozen=True)
class Checked:
    """A study whose config, tasks and models are right, and whose store can be used.

    `devices` names the device that each stage is taken to run on where nothing is measured.
    """

    config: StudyConfig
    library: TaskLibrary
    models: tuple[Model, ...]
    store: Store
    devices: Mapping[str, str]


@dataclass(frozen=True)
class Prepared:
    """What there is to do of a study, and what planning has found out.

    `kept_failed` are failures of earlier runs that are kept as they are: what failed would fail again. `cut` counts by
    model and target the prompts that the model does not read whole.
    """

    config: StudyConfig
    store: Store
    survey: Survey
    plan: Plan
    estimates: Estimates
    kept_failed: tuple[FailureRecord, ...] = ()
    cut: Cut = field(default_factory=dict)
    groups: Mapping[str, Groups] = field(default_factory=dict)

    @property
    def broken(self) -> list[FailureRecord]:
        """Cells that cannot be used."""
        return [found.failure for found in self.survey.broken]


def check(config: StudyConfig, options: Options) -> Checked:
    """Raises ConfigError for what is wrong with a config, its tasks, models, trackers, DeepSpeed's part, or store."""
    devices = assumed(config, options.device)
    library = TaskLibrary.of(config)
    library.check(cells_used(config))
    models = tuple(resolve_all(config))
    check_fits(config, models)
    models = with_modules(config, models)
    check_kinds(config, models)
    check_classes(config, models)
    settings.check(config.training)
    trackers.check(config)
    store = Store(config.store)
    since = time.monotonic()
    with answering(store.uri, config.failures.hung_after_s / 2, lambda: since):
        check_store(store, config, options.dry_run)
    return Checked(config, library, models, store, devices)


def check_store(store: Store, config: StudyConfig, dry_run: bool) -> None:
    """Raise ConfigError for a store that cannot be used, or not for this."""
    store.check_reachable()
    with readable("store", store.uri):
        before = read_study(store)
    if before is not None and config.trial_run and not before.is_trial_run:
        problem, fix = "would turn a full study's store into a trial run", "name another one: --set store=runs/trial"
        raise ConfigError("--limit", store.uri, problem, fix)
    if not dry_run:
        store.check_writable()


def prepare(checked: Checked, options: Options, warn: Callable[[str], None]) -> Prepared:
    """Look at the data and the store, and plan. A dry run writes nothing. Raises ConfigError."""
    config, store = checked.config, checked.store
    kinds = {stage: kind(resources) for stage, resources in stages(config).items()}
    others = [_calibration(uri, kinds) for uri in options.calibrate_from]
    existing = with_left_out(resolve_existing(config, checked.models), checked.models)
    found = survey(config, checked.library, check_supported, warn)
    check_usable(config, found)
    check_translated(found, config.tasks)
    together = groups(found, config.tasks)
    alone = expand(config, checked.models, found.sources, found.targets, existing, found.own_shots)
    check_starts(alone.given_starts(), config, checked.models)
    with readable("store", store.uri, refusals=False):
        folders = store.trained_in()
        grid = combined(placed(alone, folders), config, found.shots)
        check_plain(grid.given_parts())
        trained = {name: model_in(folder) for name, folder in folders.items()}
        check_names(store, grid, trained)
        check_stages(grid)
        if not options.dry_run:
            tidy(store, warn)
        everything, took = undisturbed(lambda: planned(store, grid, trained))
        own = measure(store, kinds, took)
        failed = {} if options.retry_failed else lasting(store.failures())
    to_do, kept = without(everything, failed)
    estimates = estimate(grid, found, config, merged([own, *others]), checked.devices)
    again = tuple(failed[unit_id] for unit_id in sorted(kept))
    return Prepared(config, store, found, to_do, estimates, again, cut_prompts(checked.models, found), together)


def tidy(store: Store, warn: Callable[[str], None]) -> None:
    """Compact the results where that is due, and bring the indexes up to date: the store is only quicker to read."""
    try:
        if is_due(store):
            compact(store)
        store.write_indexes()
    except (OSError, Damaged) as error:  # what is damaged is study.check's to say
        warn(f"the store could not be tidied up ({error}): the next run will")


def planned(store: Store, grid: Grid, trained: Mapping[str, str]) -> tuple[Plan, pl.DataFrame]:
    """The plan, by what a store has, and what its scores took."""
    spent = Spent()
    scored = spent.passing(store.scored(TEXTS, NUMBERS))
    return plan(grid, trained, scored, kept_epochs(store, grid)), spent.table()


def check_usable(config: StudyConfig, found: Survey) -> None:
    """Raise ConfigError where the data leave nothing to study: no cell to score, or none to train on."""
    for role, usable in (("target", found.targets), ("source", found.sources or config.adapters)):
        broken = [one for one in found.broken if one.role == role]
        if not usable and broken and all(one.kind == BAD_DATA for one in broken):
            more = f" (and {len(broken) - 1:,} more like it)" if len(broken) > 1 else ""
            problem = f"no {role} of the study can be used: {broken[0].message}{more}"
            raise ConfigError(f"{role}s", broken[0].cell, problem, "mend the data or the task, as it says")


def _calibration(uri: str, kinds: Mapping[str, str]) -> Measured:
    """What a store to calibrate from has seen. Raises ConfigError for one that holds nothing or cannot be read."""
    with readable("--calibrate-from", uri, otherwise="; or leave it out"):
        store = Store(uri)
        store.check_reachable()
        if read_study(store) is None:
            raise no_study("--calibrate-from", uri, "name the store of a study that was run, or leave it out")
        return measure(store, kinds, took_in(store))


def begin(prepared: Prepared, warn: Callable[[str], None]) -> None:
    """Write what a run leaves in its store before its first unit.

    That is study.yaml and the grid, adapters that were trained elsewhere, and cells that cannot be used; records of
    failures that no longer hold are cleared, and one that holds as it is recorded stays.
    """
    store, to_do = prepared.store, prepared.plan
    write_study(store, study_file(prepared.config, to_do.grid))
    for adapter in to_do.given():
        put_into(store, adapter)
        note(store, adapter.folder, (WEIGHTS_FILE, CONFIG_FILE, *adapter.tokenizer))
    grid = to_do.grid
    looked = partial(seen, prepared.survey, prepared.cut, warn)
    tokens = tokenised(grid.models, prepared.survey)
    renew(store, lambda before: replace(looked(before), tokens=tokens, groups=prepared.groups))
    store.write_grid(*grid.tables(), **grid.named())
    renew_failures(store, outdated(store, to_do, prepared.config), prepared.broken)


def renew_failures(store: Store, cleared: Set[str], broken: Sequence[FailureRecord]) -> None:
    """Clear failures, and put those of cells that cannot be used; what is put as it is recorded keeps its time."""
    recorded = store.failures() if broken else {}
    stands = {failure.unit_id for failure in broken if recorded.get(failure.unit_id) == failure}
    for unit_id in cleared - stands:
        store.clear_failure(unit_id)
    for failure in broken:
        if failure.unit_id not in stands:
            store.put_failure(failure)


def study_file(config: StudyConfig, grid: Grid) -> StudyFile:
    """What the store is told of a study that is about to run."""
    return StudyFile(
        config.model_dump(mode="json"),
        tuple(StoredModel(m.name, m.revision, m.identity, m.dtype, m.params, m.embedded) for m in grid.models),
        tuple(StoredAdapter(a.name, a.adapter_id, a.model, a.folder, dict(a.left_out)) for a in grid.existing),
        versions(),
        commit(),
    )


def outdated(store: Store, to_do: Plan, config: StudyConfig) -> set[str]:
    """Recorded failures of units that are tried now, of cells that were looked at anew, of units that are done.

    So are those of an older release, which do not say of which unit they are. What else is recorded stands: of a unit
    that is kept as it failed, or that a narrower config does not ask for.
    """
    recorded = store.failures()
    unknown = {unit_id for unit_id, failure in recorded.items() if failure.subject_id is None}
    surveyed = {broken_id("source", str(source)) for source in learned(config)}
    surveyed |= {broken_id("target", str(cell)) for cell in [*config.target_list(), *held_out(config)]}
    surveyed |= {broken_id("composition", one.name) for one in combinations(config)}
    cleared = to_do.asks_for(recorded.values()) | (recorded.keys() & surveyed) | unknown
    others = recorded.keys() - cleared
    done = (others & store.trained().keys()) | store.scored_among(others) if others else set()
    return cleared | done
