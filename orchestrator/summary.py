"""What a person is shown of a study before it is run, and at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from orchestrator.costs.devices import assumed
from orchestrator.costs.estimate import costs
from orchestrator.costs.outlook import outlook
from orchestrator.costs.sight import seen
from orchestrator.options import Options
from orchestrator.planning.doubts import doubts
from orchestrator.planning.given import left_out
from orchestrator.planning.remarks import of_models, remarks
from orchestrator.planning.standing import of_plan
from orchestrator.prepare import Prepared
from orchestrator.progress import combinations, tables
from orchestrator.progress.outlook_table import show
from study.config import StudyConfig
from study.config.assumed import assumptions
from study.config.expansion import cells_used, works
from study.data.needs import far_away, missing_manifests
from study.data.sizes import read_sizes, sizes_file
from study.data.tasks import TaskLibrary
from study.errors import ConfigError
from study.models.hub import Repository, to_fetch
from study.store.layout import STUDY_FILE
from study.store.records import FailureRecord
from study.store.store import Store


def sizes_beside(options: Options, config: StudyConfig, warn: Callable[[str], None]) -> Path | None:
    """The file of sizes beside the config, where the plan can go by it: with nothing done, and nothing measured."""
    file = sizes_file(options.config)
    if file is None or options.calibrate_from or _is_begun(Store(config.store), warn):
        return None
    return file


def _is_begun(store: Store, warn: Callable[[str], None]) -> bool:
    """Whether the store holds a study; not, with a warning, where it cannot be asked: planning needs no network."""
    try:
        store.check_reachable()
        return store.exists(STUDY_FILE)
    except (ConfigError, OSError) as error:
        reason = error.problem if isinstance(error, ConfigError) else error
        warn(f"the store {store.uri} could not be asked ({reason}): the plan is as if nothing were done yet")
        return False


def show_outlook(console: Console, config: StudyConfig, file: Path, options: Options) -> int:
    """Print what the study will come to by the sizes in a file, and what it needs of the Hub. Raises ConfigError."""
    devices, sizes = assumed(config, options.device), read_sizes(file)
    library, used = TaskLibrary.of(config), cells_used(config)
    fetched = to_fetch(_of_the_hub(config), *far_away(library.train, library.definitions, used), options.config)
    for missing in missing_manifests(library.train, used):
        tables.warn(console, str(missing))
    tables.warn(console, f"planned by {file.name} alone: no model, adapter or data was looked at; a run does so first")
    title = f"{config.study}, by the sizes in {file}"
    show(title, outlook(config, sizes), sizes, console, devices, options.price)
    name = config.models[0].called
    cells = [sizes.cell(name, str(cell)) for cell in config.target_list()]
    limit = config.scoring.limit
    items = [cell.items if limit is None else min(cell.items, limit) for cell in cells if cell]
    for line in (
        *_stated(config),
        *seen(config, items),
        *fetched,
    ):
        console.print(line, soft_wrap=True, highlight=False)
    return 0


def _of_the_hub(config: StudyConfig) -> list[Repository]:
    """The models, and the adapters that exist."""
    models = [Repository(model.id, model.revision) for model in config.models]
    return [*models, *(Repository(adapter.path, adapter.revision) for adapter in config.adapters)]


def _stated(config: StudyConfig) -> list[str]:
    """What the config assumes, and which cells its tables leave out."""
    assumed = [f"assumed: {one}" for one in assumptions(config.model_dump())]
    return [*assumed, *(f"no such cells: {task} in {', '.join(some)}" for task, some in config.without_task().items())]


def show_plan(console: Console, prepared: Prepared, options: Options) -> int:
    """Print what is done and what there is to do; of a dry run, whose exit code it returns, also what it will cost."""
    plan = prepared.plan
    console.print(tables.standing_table(f"{prepared.config.study} → {prepared.store.uri}", of_plan(plan)))
    stale = plan.stale_adapters.total(), plan.stale_scores.total()
    if any(stale):
        console.print(f"stale (of an older config, kept and ignored): {stale[0]:,} adapters, {stale[1]:,} scores")
    for broken in prepared.survey.broken:
        tables.line(console, f"BROKEN {broken.role} {broken.message}", "red")
    for remark in _remarks(prepared):
        tables.warn(console, remark)
    if prepared.kept_failed:
        tables.line(console, tables.kept_failed(prepared.kept_failed))
    cost = costs(plan, prepared.estimates)
    if options.dry_run:
        console.print(tables.cost_table(cost, options.price))
        items = prepared.survey.sizes()
        put_together = (*combinations.lines(plan.grid), *combinations.unreported(prepared.config))
        for line in (*tables.estimated(cost), *put_together, *_stated(prepared.config), *seen(prepared.config, items)):
            tables.line(console, line)
    elif not plan.is_empty:
        for line in tables.estimated(cost):
            tables.line(console, line)
    return 2 if options.dry_run and prepared.broken else 0


def _remarks(prepared: Prepared) -> Iterator[str]:
    """Give a line for each thing that a person should know before the study is run."""
    to_learn = works(prepared.config, prepared.survey.examples)
    yield from remarks(prepared.survey, prepared.estimates.rows, to_learn)
    yield from doubts(prepared.survey, prepared.estimates.cut, to_learn, prepared.cut)
    yield from left_out(prepared.plan.grid.existing)
    yield from of_models(prepared.plan.grid.models, bool(prepared.plan.grid.adapters))


def show_end(console: Console, prepared: Prepared, ended: Sequence[FailureRecord]) -> int:
    """Print what has failed, now or before. Returns the exit code."""
    config, store = prepared.config, prepared.store
    failures = [*prepared.kept_failed, *prepared.broken, *ended]
    if prepared.plan.is_empty:
        console.print("nothing to do: every unit of the plan is done" + " or has failed" * bool(failures))
    report = f"tables, figures and report: python -m analysis.report {config.store}"
    console.print(report, highlight=False, soft_wrap=True)
    if not failures:
        return 0
    console.print(tables.failure_table(failures))
    tables.line(
        console,
        f"details: {store.uri}/failures. Mend the cause, run the same command again: only what is missing is done; "
        "with --retry-failed also what failed for good",
    )
    return 1
