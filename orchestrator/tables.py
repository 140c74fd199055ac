"""What a person reads of a study on a terminal: the plan, its cost, how far it is, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from orchestrator.estimate import Cost
from orchestrator.plan import Plan


def plan_table(title: str, plan: Plan) -> Table:
    """Per model: what is left of what."""
    table = Table("model", "adapters to train", "of", "scores to make", "of", title=title, title_justify="left")
    grid = plan.grid
    for model in grid.models:
        units: Sequence[Iterable[Any]] = (plan.train, grid.adapters, plan.score, grid.scores)
        table.add_row(model.name, *(f"{sum(unit.model == model.name for unit in some):,}" for some in units))
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
    table = Table(*columns, caption="\n".join(f"{cost.model}: hours by {cost.basis}" for cost in costs))
    for cost in costs:
        money = [f"{cost.hours * price:,.2f}"] if price is not None else []
        table.add_row(cost.model, f"{cost.train_tokens:,}", f"{cost.score_tokens:,}", f"{cost.hours:,.3g}", *money)
    return table


def status_table(title: str, grid: Iterable[Mapping[str, Any]], adapters: set[str], scores: set[str]) -> Table:
    """Per model: what of the grid is done, given the ids of what is in the store."""
    wanted: dict[str, tuple[set[str], set[str]]] = {}
    for row in grid:
        of_model = wanted.setdefault(row["model"], (set(), set()))
        of_model[1].add(row["score_id"])
        if row["seed"] is not None:  # the base has none, nor has an adapter that was trained elsewhere
            of_model[0].add(row["adapter_id"])
    table = Table("model", "adapters done", "of", "scores done", "of", title=title, title_justify="left")
    for model, (adapter_ids, score_ids) in wanted.items():
        counts = (len(adapter_ids & adapters), len(adapter_ids), len(score_ids & scores), len(score_ids))
        table.add_row(model, *(f"{count:,}" for count in counts))
    return table


def failure_table(failures: Iterable[Mapping[str, Any]]) -> Table:
    """What failed and why, from failure records."""
    rows = list(failures)
    table = Table("unit", "kind", "attempts", "reason", title=f"{len(rows)} failed", title_justify="left")
    for failure in rows:
        table.add_row(failure["unit"], failure["kind"], str(failure["attempts"]), failure["message"])
    return table


def left_alone(failures: Mapping[str, Mapping[str, Any]], unit_ids: Sequence[str]) -> str:
    """What of the plan is not tried again, by kind."""
    kinds = Counter(failures[unit_id]["kind"] for unit_id in unit_ids)
    counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return f"left as they failed: {len(unit_ids):,} units ({counts}), which would fail again; --retry-failed tries them"
