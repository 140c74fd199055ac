"""What the command line of a sweep takes."""

from __future__ import annotations

import argparse


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
    result.add_argument(
        "--retry-failed", action="store_true", help="try again what failed for good: NaN, bad data, bugs, spent budgets"
    )
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
