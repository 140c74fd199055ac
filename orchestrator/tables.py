"""What a person reads of a study on a terminal: the plan, its cost, how far it is, what failed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from rich.console import Console
from rich.table import Column, Table

from orchestrator.estimate import Cost
from orchestrator.plan import Plan

WIDE = 200  # characters, where nobody has a terminal's edge to see


def console() -> Console:
    """A terminal as wide as it is; a pipe or a file so wide that tables are whole."""
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=WIDE)


def table_of(*columns: str, title: str | None = None, caption: str | None = None) -> Table:
    """A table whose cells are broken, never cut off, where it is too narrow; the first column names, others count."""
    first, *others = columns
    headed = [Column(first, overflow="fold"), *(Column(name, overflow="fold", justify="right") for name in others)]
    return Table(*headed, title=title, caption=caption, title_justify="left")


def plan_table(title: str, plan: Plan) -> Table:
    """Per model: adapters and scores (the cells of its matrix) done, stale (of an older config, ignored), and to do."""
    columns = [f"{what} {how}" for what in ("adapters", "scores") for how in ("done", "stale", "to do")]
    table = table_of("model", *columns, title=title)
    grid = plan.grid
    train, adapters = (Counter(unit.model for unit in units) for units in (plan.train, grid.adapters))
    score: Counter[str] = Counter()
    scores: Counter[str] = Counter()
    for count, parts in ((score, plan.parts), (scores, grid.parts())):
        for part in parts:
            count[part.model.name] += len(part.targets)
    for model in grid.models:
        name = model.name
        numbers = [
            *(adapters[name] - train[name], plan.stale_adapters[name], train[name]),
            *(scores[name] - score[name], plan.stale_scores[name], score[name]),
        ]
        table.add_row(name, *(f"{number:,}" for number in numbers))
    return table


def cost_table(costs: Sequence[Cost], price: float | None) -> Table:
    """Per model: tokens and device hours left, and what they cost at a price per hour. The caption says the basis."""
    columns = [
        "model",
        "tokens to train on",
        "tokens to score",
        "device hours",
        *(["cost"] if price is not None else []),
    ]
    table = table_of(*columns, caption="\n".join(f"{cost.model}: by {cost.basis}" for cost in costs))
    for cost in costs:
        money = [f"{cost.hours * price:,.2f}"] if price is not None else []
        table.add_row(cost.model, f"{cost.train_tokens:,}", f"{cost.score_tokens:,}", f"{cost.hours:,.3g}", *money)
    return table


def status_table(title: str, subjects: pa.Table, there: np.ndarray, adapters: set[str]) -> Table:
    """Per model: what of the grid is done, given which of its subjects' scores and adapters are there."""
    subject = pl.DataFrame(pl.from_arrow(subjects)).with_columns(done=there.sum(axis=1), of=there.shape[1])
    trained = pl.col("adapter_id").filter(pl.col("seed").is_not_null())  # others are the base or trained elsewhere
    done = pl.Series(list(adapters), dtype=pl.String).implode()
    counts = subject.group_by("model", maintain_order=True).agg(
        trained.filter(trained.is_in(done)).len().alias("adapters done"),
        trained.len().alias("adapters"),
        pl.sum("done"),
        pl.sum("of"),
    )
    table = table_of("model", "adapters done", "of", "scores done", "of", title=title)
    for model, *numbers in counts.iter_rows():
        table.add_row(model, *(f"{count:,}" for count in numbers))
    return table


def failure_table(failures: Iterable[Mapping[str, Any]]) -> Table:
    """What failed and why, from failure records."""
    rows = list(failures)
    columns = (Column(name, overflow="fold") for name in ("unit", "kind", "attempts", "reason"))
    table = Table(*columns, title=f"{len(rows)} failed", title_justify="left")
    for failure in rows:
        table.add_row(failure["unit"], failure["kind"], str(failure["attempts"]), failure["message"])
    return table


def left_alone(failures: Sequence[Mapping[str, Any]]) -> str:
    """What of the plan is not tried again, by kind."""
    kinds = Counter(failure["kind"] for failure in failures)
    counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return f"left as they failed: {len(failures):,} units ({counts}), which would fail again; --retry-failed tries them"
