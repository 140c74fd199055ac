"""`python -m orchestrator.submit CONFIG`: hand a study to a cluster as a job; closing the laptop ends nothing.

The job is `python -m orchestrator.sweep CONFIG …` on the cluster's head, in a copy of the working directory (without
what `EXCLUDED` names and git ignores); options that this command does not know are passed on to it. Secrets do not
travel with a job, since Ray writes a job's environment to its logs: the nodes' own environment has them
(docs/cluster.md).

With --json standard output has how the study stands in the end, where that can be asked; all else is on standard error.
Exit codes: the study's own; 0 for `--no-follow`, `--status` and `--stop`; 2 the input is wrong; 130 interrupted while
following.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.jobs import connect, submit
from orchestrator.options import ALLOW_OPEN, Options
from study import secrets
from study.config import StudyConfig
from study.config.file import load
from study.errors import ConfigError
from study.plain import say, tell

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

ADDRESS = "http://127.0.0.1:8265"
PACKAGES = ("study", "adapters", "trainers", "evaluators", "orchestrator", "analysis")
EXCLUDED = [".git", ".venv", "venv", "runs", "scratch", "build", "**/__pycache__", "**/.*_cache"]
EXCLUDED += [".env", ".env.*", "*.pem", "*.key", "id_rsa*", "id_ecdsa*", "id_ed25519*", ".netrc", ".ssh", "secrets.env"]
POLL_S = 1.0
Ended = tuple[int, "JobDetails | None"]  # an exit code, and how the study stands, where that is known


@dataclass(frozen=True)
class Asked:
    """What the command line asks of the cluster at `address`.

    A study to hand over, with arguments that its sweep will read; else a study (its job's id) to follow, to stop or to
    tell of: the empty status asks for all of them.
    """

    address: str
    study: Options | None
    passed_on: tuple[str, ...]
    environment: tuple[str, ...]
    no_follow: bool
    follow: str | None
    status: str | None
    stop: str | None
    allow_open: bool
    json: bool

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> Asked:
        """Raises ConfigError unless a study is either handed over or asked about."""
        found, passed_on = parser().parse_known_args(arguments)
        if bool(found.config) == bool(found.follow or found.stop or found.status is not None):
            fix = "name a YAML file, or use one of --follow, --status, --stop without one"
            raise ConfigError("CONFIG", found.config, "is either submitted or asked about", fix)
        allow = found.allow_open_cluster
        options = Options(found.config, tuple(found.overrides), found.limit, allow_open_cluster=allow)
        study = options if found.config else None
        words = found.no_follow, found.follow, found.status, found.stop, allow, found.json
        return cls(found.address, study, tuple(passed_on), tuple(found.env), *words)


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return run(Asked.parse(arguments))
    except ConfigError as error:
        say(f"error: {error}", sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m orchestrator.submit",
        description="Run a study on a cluster. Options of orchestrator.sweep are passed on.",
    )
    result.add_argument("config", metavar="CONFIG", nargs="?", help="a study's YAML file, below the working directory")
    result.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS", ADDRESS),
        help=f"the cluster's dashboard, as `ray dashboard` shows it (default: RAY_API_SERVER_ADDRESS, else {ADDRESS})",
    )
    result.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="of a sweep")
    result.add_argument("--limit", type=int, metavar="N", help="of a sweep")
    result.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="environment of the study's processes, e.g. HF_HUB_OFFLINE=1; no secrets, Ray logs it",
    )
    result.add_argument(ALLOW_OPEN, action="store_true", help="use a cluster that asks nobody for a token")
    result.add_argument("--json", action="store_true", help="print how a study stands as JSON, for programs")
    what = result.add_mutually_exclusive_group()
    what.add_argument("--no-follow", action="store_true", help="return once the study is handed over")
    what.add_argument("--follow", metavar="ID", help="show the output of a study that was submitted before")
    what.add_argument("--status", metavar="ID", nargs="?", const="", help="how a study stands; without ID, all of them")
    what.add_argument("--stop", metavar="ID", help="stop a study; what is finished stays in its store")
    return result


def run(asked: Asked) -> int:
    """Do what was asked. Returns the exit code. Raises ConfigError for bad input and a silent cluster."""
    if asked.study is None and asked.status is not None:
        return show(connect(asked.address, asked.allow_open), asked.status, asked.json)
    with redirect_stdout(sys.stderr if asked.json else sys.stdout):
        code, info = _done(asked)
    if asked.json and info is not None:
        tell(_row(info))
    return code


def _done(asked: Asked) -> Ended:
    if asked.study is not None:
        return hand_over(asked, asked.study)
    client = connect(asked.address, asked.allow_open)
    study = _known(client, asked.follow or asked.stop or "")
    return follow(client, study) if asked.follow else stop(client, study)


def hand_over(asked: Asked, study: Options) -> Ended:
    """Make a study a job of the cluster, and follow it unless it is not to be followed."""
    config = load(study.config, study.overrides, study.limit)
    check(config, Path(study.config))
    environment = dict(check_environment(text) for text in asked.environment)
    secrets.reject("the command line", asked.passed_on)
    file = Path(study.config).resolve().relative_to(Path.cwd())
    client = connect(asked.address, asked.allow_open)
    job = submit(
        client,
        entrypoint=replace(study, config=file.as_posix()).command(*asked.passed_on),
        submission_id=f"{re.sub(r'[^A-Za-z0-9_-]+', '-', config.study)}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        runtime_env={**package(Path.cwd()), "env_vars": {"PYTHONUNBUFFERED": "1", **environment}},
        metadata={"study": config.study, "store": config.store},
    )
    say(f"submitted: {job}. It goes on without this terminal.\n{_hints(asked.address, job)}")
    return (0, client.get_job_info(job) if asked.json else None) if asked.no_follow else follow(client, job)


def check(config: StudyConfig, file: Path) -> None:
    """Raise ConfigError for what would be lost or missing on a cluster, though it is fine on one machine."""
    if not file.resolve().is_relative_to(Path.cwd()):
        problem = f"is not below the working directory {Path.cwd()}, which is what the cluster gets"
        raise ConfigError("CONFIG", file, problem, "copy it there, or change to its folder")
    if "://" not in config.store and not Path(config.store).is_absolute():
        problem = "is a relative path: it would lie in the job's own temporary folder and be lost with it"
        fix = "name a bucket (s3://…, gs://…), or an absolute path that every node of the cluster shares"
        raise ConfigError("store", config.store, problem, f"{fix}: --set store=…")


def check_environment(text: str) -> tuple[str, str]:
    """NAME=VALUE as a pair. Raises ConfigError, also for what is a secret by its name or by its shape."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError("--env", "…", "is not NAME=VALUE", "write e.g. --env HF_HUB_OFFLINE=1")
    if secrets.is_name(name) or secrets.shape_of(value) or secrets.is_random(value):
        problem = "looks like a secret, and Ray writes a job's environment to its logs and process titles"
        raise ConfigError("--env", name, problem, secrets.FIX)
    return name, value


def package(folder: Path) -> dict[str, Any]:
    """What of `folder`, and of this program where it is elsewhere, the job is run with."""
    program = Path(__file__).resolve().parent.parent
    own: dict[str, Any] = {"working_dir": str(folder), "excludes": EXCLUDED}
    return own if program == folder else {**own, "py_modules": [str(program / name) for name in PACKAGES]}


def follow(client: JobSubmissionClient, study: str) -> Ended:
    """Print the study's output until it ends. Returns its exit code, and how it stands."""
    try:
        asyncio.run(_print_output(client, study))
        while not (status := client.get_job_status(study)).is_terminal():
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        say(f"\nno longer following; the study goes on.\n{_hints(client.get_address(), study)}")
        return 130, None
    except (OSError, RuntimeError) as error:  # requests' and aiohttp's errors of a lost connection are OSErrors
        say(f"\nthe connection is lost ({error}); the study goes on.\n{_hints(client.get_address(), study)}")
        return 1, None
    info = client.get_job_info(study)
    say(f"{study}: {status.lower()}" + (f" ({info.message})" if status != "SUCCEEDED" and info.message else ""))
    code = info.driver_exit_code
    return code if code is not None and code >= 0 else int(status != "SUCCEEDED"), info


async def _print_output(client: JobSubmissionClient, study: str) -> None:
    async for text in client.tail_job_logs(study):
        say(text, end="")


def show(client: JobSubmissionClient, study: str, as_json: bool = False) -> int:
    """Print how one study, or every submitted one, stands."""
    jobs = [client.get_job_info(_known(client, study))] if study else client.list_jobs()
    rows = [_row(job) for job in sorted(jobs, key=lambda job: job.start_time or 0) if job.submission_id]
    if as_json:
        tell(rows)
    for row in () if as_json else rows:
        say(f"{row['id']}  {row['status']:<9}  started {row['started']}  {row['store']}")
    return 0


def _row(job: JobDetails) -> dict[str, object]:
    return {
        "id": job.submission_id,
        "status": job.status.lower(),
        "started": datetime.fromtimestamp((job.start_time or 0) / 1000).isoformat(" ", "seconds"),
        "store": (job.metadata or {}).get("store", ""),
    }


def stop(client: JobSubmissionClient, study: str) -> Ended:
    """Stop a study and wait until it has."""
    client.stop_job(study)
    while not (status := client.get_job_status(study)).is_terminal():
        time.sleep(POLL_S)
    say(f"{study}: {status.lower()}. What is finished is in its store; submit it again to go on.")
    return 0, client.get_job_info(study)


def _known(client: JobSubmissionClient, study: str) -> str:
    known = [job.submission_id for job in client.list_jobs() if job.submission_id]
    if study not in known:
        raise ConfigError("ID", study, "no such study on this cluster", f"use one of {', '.join(known) or 'none yet'}")
    return study


def _hints(address: str, study: str) -> str:
    command = f"python -m orchestrator.submit --address {address}"
    return "\n".join(f"  {command} --{verb} {study}" for verb in ("follow", "status", "stop"))


if __name__ == "__main__":
    sys.exit(main())
