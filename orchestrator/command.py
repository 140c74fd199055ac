"""What `python -m orchestrator.sweep` does, step by step.

The way of a study: its config is read and checked, its data and its store are looked at (`prepare`), the plan is shown
(`summary`), the store is taken with a lease, and the plan is run on a Ray cluster (`run`) until each of its units is
done or has failed. Every run goes this way from the start: what is done already is read from the store, and nothing
else is known of the runs before.
"""

from __future__ import annotations

import sys
from functools import partial

from rich.console import Console

from orchestrator import told
from orchestrator.options import Options
from orchestrator.prepare import Prepared, begin, check, prepare, tidy
from orchestrator.progress import tables
from orchestrator.progress.watchdog import answering
from orchestrator.stop import Interrupted, LimitReached, StudyStopped, as_raised, leave, on_signals
from orchestrator.summary import show_end, show_outlook, show_plan, sizes_beside
from study.config import StudyConfig
from study.config.file import load
from study.plain import say
from study.store.layout import STUDY_FILE
from study.store.lease import Lease
from study.store.lost import LeaseLost, stopper
from study.store.records import FailureRecord


def sweep(options: Options, console: Console) -> int:
    """Plan and, unless it is a dry run, run. Returns the exit code. Raises ConfigError before anything is started."""
    warn = partial(tables.warn, console)
    options.most_device_hours()
    config = load(options.config, options.overrides, options.limit)
    if options.dry_run and (file := sizes_beside(options, config, warn)):
        told.of_sizes(config, file, options)
        return show_outlook(console, config, file, options)
    checked = check(config, options)
    if options.dry_run:
        prepared = prepare(checked, options, warn)
        told.of_plan(prepared, options)
        return show_plan(console, prepared, options)
    if not checked.store.exists(STUDY_FILE):  # one that is begun may be done
        check_machine(config)
    on_signals()
    lease = Lease(checked.store, stopper())
    with answering(checked.store.uri, config.failures.hung_after_s / 2, lambda: lease.asked), lease:
        prepared = prepare(checked, options, warn)
        show_plan(console, prepared, options)
        begin(prepared, warn)
        ended = execute(console, prepared, options, lease)
        told.of_end(prepared, ended, options)
        return show_end(console, prepared, ended)


def check_machine(config: StudyConfig) -> None:
    """Raise ConfigError for what the machine lacks, before the data are looked at. Imports Ray, which takes seconds."""
    from orchestrator.cluster import connect

    connect.check_machine(config)


def execute(console: Console, prepared: Prepared, options: Options, lease: Lease) -> list[FailureRecord]:
    """Run the plan on a cluster; for an empty one none is started. Returns what failed.

    A run that ends before its end says how to go on, and ends this process.
    """
    if prepared.plan.is_empty:
        return []
    again, store = options.command(), prepared.store
    try:
        failures = _on_cluster(console, prepared, options, lease)
    except LeaseLost as lost:
        say(f"error: {lost}", sys.stderr)
        leave(1, lease)
    except Interrupted as interruption:
        text = f"\n{interruption}: stopped. What is finished is in {store.uri}. To go on: {again}"
        console.print(text, soft_wrap=True, highlight=False)
        leave(130, lease)
    except LimitReached as limit:
        text = f"limit reached: {options.reached(limit.held_h)}. What is finished is in {store.uri}. To go on: {again}"
        console.print(text, soft_wrap=True, highlight=False)
        leave(1, lease)
    except (StudyStopped, OSError) as stop:
        text = f"error: {stop}\nWhat is finished is in {store.uri}. When that is mended, go on: {again}"
        say(text, sys.stderr)
        leave(1, lease)
    tidy(store, partial(tables.warn, console))
    return failures


def _on_cluster(console: Console, prepared: Prepared, options: Options, lease: Lease) -> list[FailureRecord]:
    """Connect, run, and say how the estimate compares, however the run ends. Imports Ray, which takes seconds."""
    import ray

    from orchestrator.cluster.connect import check_fits, connect
    from orchestrator.cluster.nodes import alive_nodes
    from orchestrator.run import StudyRun
    from orchestrator.scoring.requests import begin_importing

    begin_importing()
    cluster = connect(options.allow_open_cluster)
    on_signals()  # Ray has put handlers of its own in their place
    check_fits(prepared.config, list(alive_nodes().values()))
    tables.line(console, str(cluster))
    most = options.most_device_hours()
    run = StudyRun(prepared, console, options.profile, most_device_hours=most, asked=lambda: lease.asked)
    try:
        with as_raised():
            failures = run.run()
    finally:
        tables.line(console, run.progress.verdict())
    ray.shutdown()
    return failures
