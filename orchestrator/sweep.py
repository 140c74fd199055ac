"""`python -m orchestrator.sweep CONFIG`: plan a study, do what is left of it, say what failed.

Exit codes: 0 every unit is done; 1 some failed or the study had to stop; 2 the input is wrong (nothing was started);
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import yaml
from rich.console import Console

from evaluators.targets import check_supported
from orchestrator.estimate import Estimates, costs, device_name, estimate
from orchestrator.failures import BAD_DATA, Failure
from orchestrator.grid import Grid, expand
from orchestrator.measured import measure
from orchestrator.outlook import outlook, show
from orchestrator.plan import Plan, plan
from orchestrator.survey import Survey, survey
from orchestrator.tables import cost_table, failure_table, plan_table
from study.config import StudyConfig
from study.errors import ConfigError
from study.existing import put_into, resolve_existing
from study.hub import to_fetch
from study.load import load
from study.models import resolve_all
from study.sizes import read_sizes, sizes_file
from study.store import STUDY_FILE, Store
from study.tasks import TaskLibrary
from study.units import GivenAdapter
from trainers.settings import check as check_deepspeed

STACK = ("torch", "transformers", "peft", "deepspeed", "ray", "lm-eval", "datasets", "pyarrow")


class Interrupted(BaseException):
    """A signal asked the run to stop. Not an Exception, so that no handler of failures takes it for one."""


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    console = Console(stderr=False)
    try:
        return sweep(options, console)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m orchestrator.sweep", description="Run a transfer study, or go on with it."
    )
    result.add_argument("config", help="YAML file of the study")
    result.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key, e.g. recipe.epochs=1",
    )
    result.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="N items per target and N examples per source; marks the store as a trial run",
    )
    result.add_argument("--profile", action="store_true", help="write where scoring's time goes to the store's logs")
    result.add_argument("--dry-run", action="store_true", help="print the plan and its cost, do nothing")
    result.add_argument(
        "--price", type=float, metavar="P", help="price of one device hour, to print the cost of the plan"
    )
    result.add_argument(
        "--calibrate-from",
        action="append",
        default=[],
        metavar="STORE",
        help="estimate by the speed measured in this store, for what the study's own store has not seen",
    )
    result.add_argument(
        "--device",
        metavar="NAME",
        help="where nothing is measured, assume this device, e.g. A100 (default: H100, or CPU)",
    )
    return result


def sweep(options: argparse.Namespace, console: Console) -> int:
    """Plan and, unless it is a dry run, run. Returns the exit code. Raises ConfigError before anything is started."""
    config = load(options.config, options.overrides, options.limit)
    file = sizes_file(options.config)
    if options.dry_run and file is not None and not _is_begun(Store(config.store)):
        sizes = read_sizes(file)
        show(f"{config.study}, by the sizes in {file}", outlook(config, sizes), sizes, console)
        for line in to_fetch([model.id for model in config.models], sizes.datasets):
            console.print(line, soft_wrap=True, highlight=False)
        return 0
    device = device_name(config, options.device)
    library = TaskLibrary.of(config)
    library.check(dict.fromkeys([*(c for s in config.source_list() for c in s.cells), *config.target_list()]))
    models = resolve_all(config)
    check_deepspeed(config.training)
    store = Store(config.store)
    _check_store(store, config, dry_run=options.dry_run)
    if not options.dry_run:
        store.write_indexes()
    found = survey(config, library, check_supported)
    existing = resolve_existing(config, models)
    todo = plan(expand(config, models, found.sources, found.targets, existing), store.trained(), store.scored())
    estimates = estimate(todo.grid, found, config, measure([store, *_others(options.calibrate_from)]), device)
    _print_plan(console, config, todo, found, store, estimates, options)
    if options.dry_run:
        return 0
    _write_study(store, config, todo.grid)
    for adapter in {part.adapter for part in todo.parts if isinstance(part.adapter, GivenAdapter)}:
        put_into(store, adapter)
    store.write_grid(todo.grid.tables())
    return _run(console, config, todo, found, store, estimates, options)


def _is_begun(store: Store) -> bool:
    """Whether the store holds a study; not where it cannot be asked, since this is for planning without a network."""
    try:
        store.check_reachable()
        return store.exists(STUDY_FILE)
    except (ConfigError, OSError):
        return False


def _others(uris: list[str]) -> list[Store]:
    """The stores to calibrate from. Raises ConfigError for one without results."""
    stores = [Store(uri) for uri in uris]
    for store in stores:
        if not store.exists(STUDY_FILE):
            fix = "name the store of a study that was run, or leave it out"
            raise ConfigError("--calibrate-from", store.uri, "holds no study", fix)
    return stores


def _check_store(store: Store, config: StudyConfig, dry_run: bool) -> None:
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


def _write_study(store: Store, config: StudyConfig, grid: Grid) -> None:
    """study.yaml: the resolved config, the models it found, versions, commit. No secret: the config has none."""
    resolved = {
        "config": config.model_dump(mode="json"),
        "models": [
            {"name": m.name, "revision": m.revision, "identity": m.identity, "dtype": m.dtype, "params": m.params}
            for m in grid.models
        ],
        "adapters": [
            {"name": a.name, "adapter_id": a.adapter_id, "model": a.model, "folder": a.folder} for a in grid.existing
        ],
        "versions": {name: version(name) for name in STACK},
        "commit": _commit(),
    }
    store.write(STUDY_FILE, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True).encode())


def _commit() -> str | None:
    """The commit of this program, where it runs from a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None


def _print_plan(
    console: Console,
    config: StudyConfig,
    todo: Plan,
    found: Survey,
    store: Store,
    estimates: Estimates,
    options: argparse.Namespace,
) -> None:
    console.print(plan_table(f"{config.study} → {store.uri}", todo))
    stale = todo.stale_adapters.total(), todo.stale_scores.total()
    if any(stale):
        console.print(f"stale (of an older config, kept and ignored): {stale[0]:,} adapters, {stale[1]:,} scores")
    for broken in found.broken:
        console.print(f"BROKEN {broken.role} {broken.message}", style="red", markup=False, soft_wrap=True)
    if options.dry_run:
        console.print(cost_table(costs(todo, estimates), options.price))


def _run(
    console: Console,
    config: StudyConfig,
    todo: Plan,
    found: Survey,
    store: Store,
    estimates: Estimates,
    options: argparse.Namespace,
) -> int:
    failures = [Failure(b.unit_id, f"{b.role} {b.cell}", BAD_DATA, b.message, 1, b.traceback) for b in found.broken]
    before = store.failures()
    for unit_id in before.keys() - todo.names((unit_id, failure["unit"]) for unit_id, failure in before.items()):
        store.clear_failure(unit_id)
    for failure in failures:
        store.put_failure(failure.unit_id, failure.to_json())
    if todo.is_empty:
        console.print("nothing to do: every unit of the plan is done")
    else:
        code, more = _execute(console, config, todo, found, store, estimates, options)
        failures += more
        if code is not None:
            return code
        store.write_indexes()
    console.print(
        f"tables, figures and report: python -m analysis.report {config.store}", highlight=False, soft_wrap=True
    )
    if failures:
        console.print(failure_table(failure.to_json() for failure in failures))
        console.print(
            f"details: {store.uri}/failures. Mend the cause, run the same command again: only what is missing is done"
        )
        return 1
    return 0


def _execute(
    console: Console,
    config: StudyConfig,
    todo: Plan,
    found: Survey,
    store: Store,
    estimates: Estimates,
    options: argparse.Namespace,
) -> tuple[int | None, list[Failure]]:
    """Run the plan on a cluster. Returns an exit code when the run ended before its end, and what failed."""
    import ray

    from orchestrator.cluster import check_fits, connect
    from orchestrator.run import StudyRun, StudyStopped

    again = f"python -m orchestrator.sweep {options.config}" + "".join(f" --set '{o}'" for o in options.overrides)
    again += f" --limit {options.limit}" if options.limit else ""
    try:
        dashboard = connect()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        check_fits(config, ray.cluster_resources())
        if dashboard:
            hint = "it asks for the token that `ray get-auth-token` prints"
            console.print(f"Ray dashboard: {dashboard} ({hint})", soft_wrap=True)
        failures = StudyRun(config, todo, found, store, estimates, console, options.profile).run()
        ray.shutdown()
        return None, failures
    except Interrupted as interruption:
        console.print(
            f"\n{interruption}: stopped. What is finished is in {store.uri}. To go on: {again}",
            soft_wrap=True,
            highlight=False,
        )
        _leave(130)
    except StudyStopped as stop:
        print(
            f"error: {stop}\nWhat is finished is in {store.uri}. When that is mended, go on: {again}", file=sys.stderr
        )
        _leave(1)
    except OSError as error:
        print(
            f"error: {error}\nWhat is finished is in {store.uri}. When that is mended, go on: {again}", file=sys.stderr
        )
        _leave(1)


def _interrupt(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise Interrupted(signal.Signals(number).name)


def _leave(code: int) -> NoReturn:
    """Free the cluster's devices and end the process; Tune's thread would wait for its trials."""
    import ray

    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "w") as nowhere:  # Tune's thread complains about the actors it loses; it has nothing to say
        os.dup2(nowhere.fileno(), 2)
        ray.shutdown()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
