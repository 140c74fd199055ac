"""What the command line of a sweep asks for, as a value that can write itself down as a command line again."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from study.errors import ConfigError

PROGRAM = ("python", "-m", "orchestrator.sweep")
ALLOW_OPEN = "--allow-open-cluster"


@dataclass(frozen=True)
class Options:
    """`overrides` are key=value texts; `limit` cuts the study down to a trial run; `price` is of a device hour.

    `calibrate_from` names stores whose speed counts for what the study's own has not seen, `device` the one to assume
    where nothing is measured. `max_device_hours` and `max_cost` say how much this run may hold; `allow_open_cluster`
    insists on a cluster that asks nobody for a token.
    """

    config: str
    overrides: tuple[str, ...] = ()
    limit: int | None = None
    profile: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    price: float | None = None
    calibrate_from: tuple[str, ...] = ()
    device: str | None = None
    allow_open_cluster: bool = False
    max_device_hours: float | None = None
    max_cost: float | None = None
    json: bool = False

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> Options:
        """From command-line arguments (default: this process's). Ends the process, with 2, for wrong ones."""
        found: dict[str, Any] = vars(parser().parse_args(arguments))
        lists = {name: tuple(found[name]) for name in ("overrides", "calibrate_from")}
        return cls(**{**found, **lists})

    def most_device_hours(self) -> float | None:
        """How many device hours this run may hold, if there is a limit. Raises ConfigError for one that is none."""
        found = []
        for key, most in (("--max-device-hours", self.max_device_hours), ("--max-cost", self.max_cost)):
            if most is not None and not 0 < most < math.inf:
                raise ConfigError(key, most, "is no positive number", "leave it out for a run without a limit")
        if self.max_device_hours is not None:
            found.append(self.max_device_hours)
        if self.max_cost is not None:
            if self.price is None or not 0 < self.price < math.inf:
                raise ConfigError("--max-cost", self.max_cost, "needs the price of a device hour", "add --price P")
            found.append(self.max_cost / self.price)
        return min(found, default=None)

    def reached(self, held_h: float) -> str:
        """What a run says that ends by its limit."""
        told = f"this run has held {held_h:.4g} device hours, of {self.most_device_hours() or 0:.4g} that it may"
        if self.price is None:
            return told
        most = "" if self.max_cost is None else f", of {self.max_cost:.4g} that it may cost"
        return f"{told}; at {self.price:.4g} each that is {held_h * self.price:.4g}{most}"

    def command(self, *more: str) -> str:
        """The command line that runs this study, with further arguments: what decides the study, not how it is run."""
        parts = [*PROGRAM, self.config]
        for override in self.overrides:
            parts += ["--set", override]
        if self.limit is not None:
            parts += ["--limit", str(self.limit)]
        if self.allow_open_cluster:
            parts.append(ALLOW_OPEN)
        return shlex.join([*parts, *more])


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog=" ".join(PROGRAM), description="Run a transfer study, or go on with it.")
    result.add_argument("config", metavar="CONFIG", help="YAML file of the study")
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
        "--calibrate-from",
        action="append",
        default=[],
        metavar="STORE",
        help="estimate by the speed measured in this store, for what the study's own store has not seen",
    )
    result.add_argument(ALLOW_OPEN, action="store_true", help="run on a cluster that asks nobody for a token")
    result.add_argument(
        "--device",
        metavar="NAME",
        help="where nothing is measured, assume this device, e.g. A100 (default: H100, or CPU)",
    )
    result.add_argument("--json", action="store_true", help="print plan or end as JSON, and all else on standard error")
    _add_limits(result)
    return result


def _add_limits(result: argparse.ArgumentParser) -> None:
    result.add_argument(
        "--price", type=float, metavar="P", help="price of one device hour, to print the cost of the plan"
    )
    result.add_argument(
        "--max-device-hours", type=float, metavar="H", help="stop, to be gone on with, when this run has held so many"
    )
    result.add_argument("--max-cost", type=float, metavar="C", help="the same, by --price")
