"""`python -m orchestrator.status STORE`: how far a running or stopped study is, from its store alone."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from orchestrator.tables import console, failure_table, status_table
from study.coverage import Coverage
from study.errors import ConfigError
from study.store import Store


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.status", description="How far a study is.")
    parser.add_argument("store", help="the study's store: a folder or a bucket URI")
    options = parser.parse_args(arguments)
    try:
        show(Store(options.store), console())
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def show(store: Store, out: Console) -> None:
    """Print the state of a store. Raises ConfigError when it is none."""
    store.check_reachable()
    grid = store.read_grid()
    if grid is None:
        raise ConfigError("STORE", store.uri, "holds no study", "name the `store` of a config that was run before")
    subjects, targets = grid
    names = subjects.column("subject_id").to_pylist(), targets.column("target_id").to_pylist()
    out.print(status_table(store.uri, subjects, Coverage(*names, store.scored()).there, set(store.trained())))
    failures = store.failures()
    if failures:
        out.print(failure_table(failures.values()))


if __name__ == "__main__":
    sys.exit(main())
