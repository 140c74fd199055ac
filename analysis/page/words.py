"""How the page and the terminal say a number: with its unit, its interval, and how often such a claim is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

Row = dict[str, object]
REGIMES = {
    "MT-ML": "own cell",
    "MT-CL": "same task, other language",
    "CT-ML": "other task, same language",
    "CT-CL": "other task and language",
}
WRONG = "of either at most one in twenty is expected to be wrong"

ROWS = (
    "Row “all” is all transfer, without the adapters’ own cells (MT-ML). Rates are shares of cells, %; harm floor is "
    "what noise alone would show, harm least what truly loses as much at least (95 % sure)."
)


def signed(value: object) -> str:
    """A Δ with its sign; none below 0 that rounds to it."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−") if isinstance(value, float) else "unknown"


def pp(value: object) -> str:
    """A Δ with its sign and unit."""
    return f"{signed(value)} pp" if isinstance(value, float) else "unknown"


def span(low: object, high: object, named: bool = False) -> str:
    """An interval in brackets, called what it is where it is the first of its line; nothing where it is not known."""
    if not isinstance(low, float) or not isinstance(high, float):
        return ""
    return f" ({'95 % interval ' * named}{signed(low)} to {signed(high)})"


def count(n: int, what: str, several: str = "") -> str:
    """So many of them, in the plural but for one."""
    return f"{n:,} {what if n == 1 else several or what + 's'}"


def sources_of(n: int, rows: pl.DataFrame) -> str:
    """So many sources, each model's counted where there are several."""
    return count(n, "source") + " (each model counted)" * (rows["model"].n_unique() > 1)


def percent(value: float) -> str:
    """A share, with a decimal where it is small."""
    return f"{value:.1f} %" if 0 < value < 1 else f"{value:.0f} %"


def rate_beside_noise(row: Row) -> str:
    """A harm rate with what noise alone would print and what is harmed at least, where that is known."""
    return f"{percent(real(row['harm_rate']))} of transfer cells show a loss of a point or more; {noise_beside(row)}"


def noise_beside(row: Row) -> str:
    """What stands beside a harm rate: its floor, and its lower bound."""
    floor, least = row["harm_floor"], row["harm_least"]
    if floor is None:
        return "how many noise alone would show is not known without items"
    sure = (
        f"at least {percent(real(least))} truly lose as much (95 % sure)"
        if least
        else "that any truly loses as much is not shown"
    )
    return f"noise alone would show {percent(real(floor))}; {sure}"


def real(value: object) -> float:
    return float(value) if isinstance(value, float) else float("nan")


def claims(n: Mapping[str, int]) -> str:
    """How many cells are called what, and how often such calls are wrong."""
    return f"{called(n)}: {WRONG}" if n["worse"] or n["better"] else called(n)


def called(n: Mapping[str, int], loss: str = "a point") -> str:
    """How many are called what; `loss` is what counts as harm."""
    if not n["worse"] and not n["better"]:
        return "none can be called worse or better"
    worse, better = (f"{n[claim]:,}" if n[claim] else "none" for claim in ("worse", "better"))
    lowest = (
        f" ({n['lowest']:,} where the base is at chance or at 0, which cannot be harmed)" if n.get("lowest") else ""
    )
    which = "the others" if lowest else "them"
    certain = f", {n['harmed']:,} of {which} by {loss} for certain," if n["harmed"] else ""
    return f"{worse} can be called worse{lowest}{certain} and {better} better"


def visible(power: pl.DataFrame) -> str:
    """How large a loss the models' cells must have to be seen, in words."""
    smallest = power["smallest"].drop_nulls().abs()
    if not len(smallest):
        return "more points than there are"
    least, most = (f"{real(end):.0f}" for end in (smallest.min(), smallest.max()))
    return f"{least} points or more" if least == most else f"{least} to {most} points or more, by model,"
