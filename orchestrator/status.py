"""`python -m orchestrator.status STORE`: how far a running or stopped study is, from its store alone."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from rich.console import Console
from rich.table import Table

from study.errors import ConfigError
from study.store import Store


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.status", description="How far a study is.")
    parser.add_argument("store", help="the study's store: a folder or a bucket URI")
    options = parser.parse_args(arguments)
    try:
        show(Store(options.store), Console())
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def show(store: Store, console: Console) -> None:
    """Print the state of a store. Raises ConfigError when it is none."""
    grid = store.read_grid()
    if grid is None:
        raise ConfigError("STORE", store.uri, "holds no study", "name the `store` of a config that was run before")
    adapters_done, scores_done, failures = set(store.records()), store.done_scores(), store.failures()
    adapters: dict[str, set[str]] = {}
    scores: dict[str, Counter[str]] = {}
    for row in grid.select(["model", "adapter_id", "score_id"]).to_pylist():
        adapters.setdefault(row["model"], set())
        if row["adapter_id"] is not None:
            adapters[row["model"]].add(row["adapter_id"])
        scores.setdefault(row["model"], Counter()).update(["done" if row["score_id"] in scores_done else "left"])
    table = Table("model", "adapters done", "of", "scores done", "of", title=store.uri, title_justify="left")
    for model, wanted in adapters.items():
        counts = (len(wanted & adapters_done), len(wanted), scores[model]["done"], scores[model].total())
        table.add_row(model, *(f"{count:,}" for count in counts))
    console.print(table)
    if failures:
        failed = Table("unit", "kind", "attempts", "reason", title=f"{len(failures)} failed")
        for failure in failures.values():
            failed.add_row(failure["unit"], failure["kind"], str(failure["attempts"]), failure["message"])
        console.print(failed)


if __name__ == "__main__":
    sys.exit(main())
