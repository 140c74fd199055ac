"""`python -m orchestrator.sweep CONFIG`: plan a study, do what is left of it, say what failed.

Exit codes: 0 every unit is done; 1 some failed or the study had to stop; 2 the input is wrong (nothing was started);
130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console

from orchestrator.costs.devices import assumed
from orchestrator.costs.estimate import costs
from orchestrator.costs.outlook import outlook, show
from orchestrator.options import parser
from orchestrator.planning.standing import of_plan
from orchestrator.prepare import Prepared, check_store, prepare, study_file
from orchestrator.progress.tables import console, cost_table, failure_table, left_alone, standing_table
from orchestrator.progress.trackers import check as check_trackers
from orchestrator.records import outdated
from orchestrator.stop import Interrupted, StudyStopped, as_raised, leave, on_signals
from study.config import StudyConfig
from study.config.file import load
from study.data.sizes import read_sizes, sizes_file
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, StoreRefused
from study.models.given import put_into
from study.models.hub import to_fetch
from study.models.resolve import resolve_all
from study.store.layout import STUDY_FILE
from study.store.lease import Lease
from study.store.lost import LeaseLost, stopper
from study.store.records import FailureRecord
from study.store.store import Store
from study.store.study_file import write_study
from study.units import GivenAdapter
from trainers.settings import check as check_deepspeed


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return sweep(options, console())
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (LeaseLost, StoreRefused) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        print(f"{interruption}: stopped. To go on, run the same command again", file=sys.stderr)
        return 130


def sweep(options: argparse.Namespace, console: Console) -> int:
    """Plan and, unless it is a dry run, run. Returns the exit code. Raises ConfigError before anything is started."""
    config = load(options.config, options.overrides, options.limit)
    devices = assumed(config, options.device)

    def warn(text: str) -> None:
        console.print(text, style="yellow", markup=False, soft_wrap=True)

    file = sizes_file(options.config)
    if (
        options.dry_run
        and file is not None
        and not options.calibrate_from  # what was measured goes by the data themselves
        and not _is_begun(Store(config.store), warn)
    ):
        sizes = read_sizes(file)
        title = f"{config.study}, by the sizes in {file}"
        show(title, outlook(config, sizes), sizes, console, devices, options.price)
        for line in to_fetch([model.id for model in config.models], sizes.datasets):
            console.print(line, soft_wrap=True, highlight=False)
        return 0
    library = TaskLibrary.of(config)
    library.check(dict.fromkeys([*(c for s in config.source_list() for c in s.cells), *config.target_list()]))
    models = resolve_all(config)
    check_deepspeed(config.training)
    check_trackers(config)
    store = Store(config.store)
    check_store(store, config, dry_run=options.dry_run)
    given = config, library, models, store, devices, options
    if options.dry_run:
        _print_plan(console, config, prepare(*given, warn), store, options)
        return 0
    with Lease(store, stopper()) as lease:
        planned = prepare(*given, warn)
        _print_plan(console, config, planned, store, options)
        write_study(store, study_file(config, planned.todo.grid))
        for adapter in {part.adapter for part in planned.todo.parts if isinstance(part.adapter, GivenAdapter)}:
            put_into(store, adapter)
        store.write_grid(*planned.todo.grid.tables())
        return _run(console, config, planned, store, lease, options)


def _is_begun(store: Store, warn: Callable[[str], None]) -> bool:
    """Whether the store holds a study; not, with a warning, where it cannot be asked: planning needs no network."""
    try:
        store.check_reachable()
        return store.exists(STUDY_FILE)
    except (ConfigError, OSError) as error:
        reason = error.problem if isinstance(error, ConfigError) else error
        warn(f"the store {store.uri} could not be asked ({reason}): the plan is as if nothing were done yet")
        return False


def _print_plan(
    console: Console, config: StudyConfig, planned: Prepared, store: Store, options: argparse.Namespace
) -> None:
    todo = planned.todo
    console.print(standing_table(f"{config.study} → {store.uri}", of_plan(todo)))
    stale = todo.stale_adapters.total(), todo.stale_scores.total()
    if any(stale):
        console.print(f"stale (of an older config, kept and ignored): {stale[0]:,} adapters, {stale[1]:,} scores")
    for broken in planned.survey.broken:
        console.print(f"BROKEN {broken.role} {broken.message}", style="red", markup=False, soft_wrap=True)
    if planned.left:
        console.print(left_alone(planned.left), highlight=False, soft_wrap=True)
    if options.dry_run:
        console.print(cost_table(costs(todo, planned.estimates), options.price))


def _run(
    console: Console, config: StudyConfig, planned: Prepared, store: Store, lease: Lease, options: argparse.Namespace
) -> int:
    broken = [
        FailureRecord(b.unit_id, f"{b.role} {b.cell}", b.kind, b.message, b.attempts, b.traceback)
        for b in planned.survey.broken
    ]
    for unit_id in outdated(store, planned.todo, config):
        store.clear_failure(unit_id)
    for failure in broken:
        store.put_failure(failure)
    failures = [*planned.left, *broken]
    if planned.todo.is_empty:
        console.print("nothing to do: every unit of the plan is done" + " or has failed" * bool(failures))
    else:
        code, more = _execute(console, config, planned, store, lease, options)
        if code is not None:
            return code
        _index(store, console)
        failures += more
    console.print(
        f"tables, figures and report: python -m analysis.report {config.store}", highlight=False, soft_wrap=True
    )
    if failures:
        console.print(failure_table(failures))
        console.print(
            f"details: {store.uri}/failures. Mend the cause, run the same command again: only what is missing is done; "
            "with --retry-failed also what failed for good",
            soft_wrap=True,
        )
        return 1
    return 0


def _index(store: Store, console: Console) -> None:
    """Make reading the store quick. All that is in the index is in other files too."""
    try:
        store.write_indexes()
    except OSError as error:
        text = f"the store's index could not be written ({error}): the next run will"
        console.print(text, style="yellow", markup=False, soft_wrap=True)


def _execute(
    console: Console, config: StudyConfig, planned: Prepared, store: Store, lease: Lease, options: argparse.Namespace
) -> tuple[int | None, list[FailureRecord]]:
    """Run the plan on a cluster. Returns an exit code when the run ended before its end, and what failed."""
    import ray

    from orchestrator.cluster.nodes import check_fits, connect
    from orchestrator.run import StudyRun

    again = f"python -m orchestrator.sweep {options.config}" + "".join(f" --set '{o}'" for o in options.overrides)
    again += f" --limit {options.limit}" if options.limit else ""
    try:
        dashboard = connect()
        on_signals()
        check_fits(config, ray.cluster_resources())
        if dashboard:
            hint = "it asks for the token that `ray get-auth-token` prints"
            console.print(f"Ray dashboard: {dashboard} ({hint})", soft_wrap=True)
        run = StudyRun(config, planned.todo, planned.survey, store, planned.estimates, console, options.profile)
        try:
            with as_raised():
                failures = run.run()
        finally:
            console.print(run.progress.verdict(), highlight=False, soft_wrap=True)
        ray.shutdown()
        return None, failures
    except LeaseLost as lost:
        print(f"error: {lost}", file=sys.stderr)
        leave(1, lease)
    except Interrupted as interruption:
        console.print(
            f"\n{interruption}: stopped. What is finished is in {store.uri}. To go on: {again}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        leave(130, lease)
    except (StudyStopped, OSError) as stop:
        print(
            f"error: {stop}\nWhat is finished is in {store.uri}. When that is mended, go on: {again}", file=sys.stderr
        )
        leave(1, lease)


if __name__ == "__main__":
    sys.exit(main())
