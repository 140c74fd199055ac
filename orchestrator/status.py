"""`python -m orchestrator.status STORE`: how far a running or stopped study is, from its store alone."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from rich.console import Console

from orchestrator.costs.remaining import seconds_left
from orchestrator.planning.standing import of_store
from orchestrator.progress.tables import console, failure_table, line, standing_table
from study.ending import end_by_signal
from study.errors import ConfigError
from study.plain import say, tell
from study.store.lease import holder
from study.store.readable import no_study, readable
from study.store.records import StudyFile
from study.store.store import Store
from study.store.study_file import read_study


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m orchestrator.status", description="How far a study is.")
    result.add_argument("store", metavar="STORE", help="the study's store: a folder or a bucket URI")
    result.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    return result


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    store = Store(options.store)
    try:
        with readable("STORE", store.uri):
            if options.json:
                tell(told(store))
            else:
                show(store, console())
        return 0
    except ConfigError as error:
        say(f"error: {error}", sys.stderr)
        return 2


def told(store: Store) -> dict[str, object]:
    """What `show` prints, for programs; raises as it does."""
    study = _study(store)
    rows, to_do = of_store(store)
    seconds = seconds_left(store, study, to_do)
    return {
        "store": store.uri,
        "study": study.name,
        "models": [{**asdict(row), "device_seconds_left": seconds.get(row.model)} for row in rows],
        "held_by": str(held) if (held := holder(store)) else None,
        "failures": [failure.to_json() for failure in store.failures().values()],
    }


def _study(store: Store) -> StudyFile:
    store.check_reachable()
    study = read_study(store)
    if study is None:
        raise no_study("STORE", store.uri)
    return study


def show(store: Store, out: Console) -> None:
    """Print the state of a store. Raises ConfigError when it is none, Damaged, and OtherVersion."""
    study = _study(store)
    rows, to_do = of_store(store)
    out.print(standing_table(store.uri, rows, seconds_left(store, study, to_do)))
    held = holder(store)
    line(out, f"held by {held}" if held else "nobody works on it now")
    failures = store.failures()
    if failures:
        out.print(failure_table(failures.values()))


if __name__ == "__main__":
    end_by_signal(seconds=1.0)  # it leaves nothing to tidy up
    sys.exit(main())
