"""What programs are told of a study with --json, once: its plan, or how a run has ended. Without it nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from orchestrator.costs.devices import assumed
from orchestrator.costs.estimate import costs
from orchestrator.costs.outlook import outlook
from orchestrator.options import Options
from orchestrator.planning import standing
from orchestrator.prepare import Prepared
from study.config import StudyConfig
from study.data.sizes import read_sizes
from study.plain import tell
from study.store.records import FailureRecord


def of_sizes(config: StudyConfig, file: Path, options: Options) -> None:
    """What a study will come to by its sizes alone."""
    if options.json:
        on = list(assumed(config, options.device).values())
        rows = [{**asdict(row), "device_hours": row.hours(on[0], on[-1])} for row in outlook(config, read_sizes(file))]
        tell({"study": config.study, "store": config.store, "sizes": str(file), "devices": on, "models": rows})


def of_plan(prepared: Prepared, options: Options) -> None:
    """What is done and to do by model, what it takes, what is broken."""
    if options.json:
        took = {
            one.model: {**asdict(one), "device_hours": one.hours} for one in costs(prepared.plan, prepared.estimates)
        }
        rows = [{**asdict(row), "cost": took.get(row.model)} for row in standing.of_plan(prepared.plan)]
        broken = [{"role": one.role, "message": one.message} for one in prepared.survey.broken]
        tell({**_of(prepared), "models": rows, "broken": broken, "price": options.price})


def of_end(prepared: Prepared, ended: Sequence[FailureRecord], options: Options) -> None:
    """What has failed, now or before, of a run that came to its end."""
    if options.json:
        failures = [*prepared.kept_failed, *prepared.broken, *ended]
        found = [failure.to_json() for failure in failures]
        tell({**_of(prepared), "nothing_to_do": prepared.plan.is_empty, "failures": found})


def _of(prepared: Prepared) -> dict[str, object]:
    return {"study": prepared.config.study, "store": prepared.store.uri}
