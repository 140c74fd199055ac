"""`python -m orchestrator.status STORE`: how far a running or stopped study is, from its store alone."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from orchestrator.costs.remaining import seconds_left
from orchestrator.planning.standing import of_store
from orchestrator.progress.tables import console, failure_table, standing_table
from study.ending import end_by_signal
from study.errors import ConfigError
from study.plain import say
from study.store.lease import holder
from study.store.readable import no_study, readable
from study.store.store import Store
from study.store.study_file import read_study


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.status", description="How far a study is.")
    parser.add_argument("store", help="the study's store: a folder or a bucket URI")
    options = parser.parse_args(arguments)
    store = Store(options.store)
    try:
        with readable("STORE", store.uri):
            show(store, console())
        return 0
    except ConfigError as error:
        say(f"error: {error}", sys.stderr)
        return 2


def show(store: Store, out: Console) -> None:
    """Print the state of a store. Raises ConfigError when it is none, Damaged, and OtherVersion."""
    store.check_reachable()
    study = read_study(store)
    if study is None:
        raise no_study("STORE", store.uri)
    rows, to_do = of_store(store)
    out.print(standing_table(store.uri, rows, seconds_left(store, study, to_do)))
    held = holder(store)
    out.print(f"held by {held}" if held else "nobody works on it now", highlight=False, soft_wrap=True)
    failures = store.failures()
    if failures:
        out.print(failure_table(failures.values()))


if __name__ == "__main__":
    end_by_signal(seconds=1.0)  # it leaves nothing to tidy up
    sys.exit(main())
