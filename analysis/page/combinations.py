"""The chapter that says when to prefer combining several sources over the best single donor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.frames import TARGET
from analysis.inference.paired import mean_difference
from analysis.page import html
from analysis.page.words import WRONG, Row, count, signed
from analysis.tables.registry import Made

TABLES = ("compositions", "lambda_curve", "additivity", "geometry", "generation")
SHOWN = ("compositions", "generation", "additivity")  # those that the chapter has itself
NAMED = 20  # compositions by name in one line
PAIRS = "compositions and targets"
FOR = ["model", "name", "protocol", "lambda"]
ROLES = {
    "base": "the base",
    "source": "sources of other cells",
    "composition": "compositions",
    "ceiling": "what learned the cell itself",
}


def chapter(made: dict[str, Made], figure: str) -> str:
    """What compositions gain, harm and add up to; `figure` is that of lambda."""
    table = made["compositions"]
    if table.frame is None:
        return f'<h2 id="combinations">Combinations</h2>{html.absent(table.table.title, table.reason)}'
    lines = "".join(f"<li>{html.text(line)}</li>" for line in said(made))
    parts = [
        f'<h2 id="combinations">Combinations</h2><p class="how"><strong>How to read it.</strong> '
        f'{html.text(table.table.how)}</p><ul class="lines">{lines}</ul>'
    ]
    for one in (made[name] for name in SHOWN):
        if one.frame is not None:
            head = f"Numbers: {one.table.name} ({one.frame.height:,} rows, from {one.table.rows})"
            parts.append(html.details(head, html.table(one.frame, one.table.columns, title=one.table.title)))
    return "".join(parts) + figure


def line(made: dict[str, Made]) -> str:
    """The first of its lines, for the top of the page; nothing where nothing was put together."""
    return next(said(made), "") if made["compositions"].frame is not None else ""


def said(made: dict[str, Made]) -> Iterator[str]:
    """Claims in plain sentences, each with its interval, its rows and how often such claims are wrong."""
    frame = made["compositions"].frame
    assert frame is not None
    rows = frame.filter(pl.col("regime") != "MT-ML", pl.col("gain_donor").is_not_null())
    for (metric, unit), part in rows.group_by("metric", "unit", maintain_order=True):
        yield _gain(part, str(metric), str(unit))
    for (metric, unit), part in rows.filter(pl.col("gain_part").is_not_null()).group_by(
        "metric", "unit", maintain_order=True
    ):
        yield _methods(part, str(metric), str(unit))
    yield _harm(frame)
    if (answers := made["generation"].frame) is not None:
        yield from _languages(answers)
    yield from _sums(made["additivity"].frame)
    if (curve := made["lambda_curve"].frame) is not None:
        yield from _untold(curve)
        for (metric, unit), part in curve.group_by("metric", "unit", maintain_order=True):
            if part["chosen"].any():
                yield _hindsight(part, str(metric), str(unit))


def _gain(rows: pl.DataFrame, metric: str, unit: str) -> str:
    better, worse = (int(rows[side].sum()) for side in ("better", "worse"))
    wrong = f"; {WRONG}" if better or worse else ""
    return (
        f"Combining beside the best single donor, by {metric}: {_mean(rows, 'gain_donor', unit)} over "
        f"{count(rows.height, 'composition and target', PAIRS)} that no part was trained on. "
        f"{better:,} can be called better than the best single donor, {worse:,} worse{wrong}."
    )


def _methods(rows: pl.DataFrame, metric: str, unit: str) -> str:
    parts = [
        f"{method} {_mean(part, 'gain_part', unit)}"
        for (method,), part in rows.sort("method").group_by("method", maintain_order=True)
    ]
    return f"Beside the best of their own parts, by {metric}, method by method: {'; '.join(parts)}."


def _mean(rows: pl.DataFrame, column: str, unit: str) -> str:
    """A mean with its interval, clustered by composition and by target where there are two of each or more."""
    at = [
        rows.select(pl.struct(end).rank("dense")).to_series().to_numpy().astype(np.int64) - 1 for end in (FOR, TARGET)
    ]
    values = np.full((int(at[0].max()) + 1, int(at[1].max()) + 1), np.nan)
    values[at[0], at[1]] = rows[column].to_numpy()
    found = mean_difference(values)
    mean, low, high = (signed(float(end[0])) for end in (found.value, found.low, found.high))
    return f"{mean} {unit}" + ("" if "nan" in low else f" (95 % interval {low} to {high})")


def _harm(frame: pl.DataFrame) -> str:
    """Over the targets that a composition is reported on, and beside its parts where one was scored on some of them."""
    fixed = pl.when(pl.col("protocol").is_null()).then("lambda").alias("fixed")
    each = frame.group_by("model", "name", "protocol", fixed).agg(pl.col("harm_avoided").mean())
    found = each["harm_avoided"].drop_nulls()
    less = float(found.mean() or 0.0)  # type: ignore[arg-type]
    words = f"{abs(less):.1f} {'fewer' if less > 0 else 'more'} per composition than"
    if not round(less, 1):
        words = "as many per composition as"
    beside = ""
    if len(found):
        others = (
            "" if len(found) == each.height else f" of {each.height:,} (no part of the others was scored on theirs)"
        )
        beside = f"Over {count(len(found), 'composition')}{others}: {words} the best of its parts on the same targets. "
    rows = count(frame.height, "composition and target", PAIRS)
    return (
        f"Harm: a loss that counts is shown by {int(frame['harmed'].sum()):,} of {rows}. {beside}All are counted as "
        f"printed; most of such losses may be noise, in either."
    )


def _languages(answers: pl.DataFrame) -> Iterator[str]:
    """In which language answers are, by whose they are; nothing where the study has texts of one language alone."""
    known = answers.filter(pl.col("language_share").is_not_null())
    means = dict(known.group_by("role").agg(pl.col("language_share").mean()).iter_rows())
    parts = [f"{words} {means[role]:.0f} %" for role, words in ROLES.items() if role in means]
    if parts:
        right = known["language_known"].drop_nulls().to_list()
        mean = f"{sum(right) / len(right):.0f} %" if right else ""
        least = f"; of the right answers the same guess takes {mean} for that language" if right else ""
        targets = count(known.select(TARGET).n_unique(), "target")
        yield f"Answers in the language that was asked for, over {targets}: {', '.join(parts)}{least}."


def _untold(curve: pl.DataFrame) -> Iterator[str]:
    """Who was scored on targets for which no lambda could be chosen: these are in no other table of compositions."""
    each = curve.group_by("model", "name", *TARGET).agg(pl.col("chosen").any())
    names = each.group_by("model", "name").agg((~pl.col("chosen")).sum().alias("without"), pl.len().alias("all"))
    rows = names.filter(pl.col("without") > 0).sort("model", "name").rows()
    if rows:
        several = each["model"].n_unique() > 1
        told = [f"{name}{f' ({model})' * several} {n:,} of {every:,}" for model, name, n, every in rows[:NAMED]]
        more = f", and {count(len(rows) - NAMED, 'more composition')}" if len(rows) > NAMED else ""
        yield (
            f"No λ was chosen for {count(sum(row[2] for row in rows), 'composition and target', PAIRS)}, as "
            f"its protocol has no scores on held-out items for them: {', '.join(told)} targets{more}. They are in the "
            f"table lambda_curve, and in nothing else that is said of compositions."
        )


def _sums(frame: pl.DataFrame | None) -> Iterator[str]:
    """One line per metric: how far parts add up, method by method."""
    if frame is None:
        return
    whole = frame.filter(pl.col("regime") == "all")
    for (metric, unit), rows in whole.group_by("metric", "unit", maintain_order=True):
        parts = "; ".join(_sum(row, str(unit)) for row in rows.iter_rows(named=True))
        yield (
            f"Does Σ w·Δ of the parts tell what a composition does, by {metric}? Slope of the measured on it (1 where "
            f"parts add up; 95 % interval) and what is left beyond noise, over {int(rows['n'].sum()):,} composed "
            f"adapters and targets: {parts}."
        )


def _sum(row: Row, unit: str) -> str:
    slope, low, high = (row[f"slope{end}"] for end in ("", "_low", "_high"))
    if slope is None:
        return f"{row['method']} not told, for nothing but noise varies"
    ends = "" if low is None else f" ({low:.2f} to {high:.2f})"
    return f"{row['method']} {slope:.2f}{ends}, {row['rmse_clean']:.1f} {unit}".replace("-", "−")


def _hindsight(curve: pl.DataFrame, metric: str, unit: str) -> str:
    by = ["model", "name", *TARGET]
    best = curve.filter("hindsight").select(*by, pl.col("test").alias("best"))
    both = curve.filter("chosen").join(best, on=by)
    cost = float((both["best"] - both["test"]).mean() or 0.0)  # type: ignore[arg-type]
    rows = count(both.height, "composition and target", PAIRS)
    return (
        f"λ was chosen on held-out items for {rows}, by {metric}: the best λ on test items, which nobody can know, "
        f"would give {cost:.2f} {unit} more on average, part of it luck."
    )
