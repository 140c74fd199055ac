"""The figures of the report and the sentence that says how to read each.

A section is a figure, the table behind it and one plain sentence; when its table could not be made, the reason
stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.frames import SOURCE, TARGET, TRANSFER_REGIMES
from analysis.page.charts import agreement, effects, heat
from analysis.reading.study import Study
from analysis.statistics import linguistic, regimes
from analysis.tables.registry import Made

Spec = dict[str, Any]
Tables = dict[str, Made]


@dataclass(frozen=True)
class Section:
    """One figure. `draw` gets the study, the tables and whether the figure is for the page (else for a file)."""

    name: str
    title: str
    how: str
    table: str
    draw: Callable[[Study, Tables, bool], Spec]
    wide: bool = False
    chapter: str = ""


def frame(made: Tables, name: str) -> pl.DataFrame:
    """A table that is known to be there."""
    found = made[name].frame
    assert found is not None, name
    return found


def _width(page: bool, pixels: int) -> int | str:
    return "container" if page else pixels


def matrix_rows(study: Study, made: Tables) -> pl.DataFrame:
    """Rows of the big heat map: the mean over models first (when there are several), then each model.

    `n` is the items of a model's cell, or the models of the mean's; intervals are there where they were computed.
    """
    rows = study.transfer.filter(pl.col("delta").is_not_null())
    columns = [*SOURCE, *TARGET, "regime", "delta"]
    tests = made["significance"].frame
    own = rows.select("model", *columns, pl.col("n_items").alias("n"))
    if tests is not None:
        known = tests.select("model", *SOURCE, *TARGET, "low", "high", "q_value", "gains", "losses")
        own = own.join(known, on=["model", *SOURCE, *TARGET], how="left")
    if rows["model"].n_unique() == 1:
        return own
    mean = frame(made, "matrix").select(
        pl.lit("mean over models").alias("model"), *columns, pl.col("n_models").alias("n")
    )
    return pl.concat([mean, own], how="diagonal").select(own.columns)


def role_rows(made: Tables, kind: str) -> pl.DataFrame:
    """`name, role, delta, low, high`: resampling intervals where items are known, else one standard error each way."""
    stable = made["rank_stability"].frame
    if stable is not None and kind in stable["kind"]:
        wanted = stable.filter(pl.col("kind") == kind)
        return wanted.select("name", "role", pl.col("estimate").alias("delta"), "low", "high")
    table = frame(made, f"{kind}_roles")
    sides = [
        table.select(
            pl.col(kind).alias("name"),
            pl.lit(side).alias("role"),
            pl.col(side).alias("delta"),
            (pl.col(side) - pl.col(f"{side}_se")).alias("low"),
            (pl.col(side) + pl.col(f"{side}_se")).alias("high"),
        )
        for side in ("donor", "recipient")
    ]
    return pl.concat(sides).filter(pl.col("delta").is_not_null())


def share_rows(made: Tables) -> pl.DataFrame:
    """Both variance tables under one another, by scope."""
    designs = {"crossed": "variance_crossed", "nested": "variance_nested"}
    there = {name: made[table].frame for name, table in designs.items()}
    parts = [table.with_columns(pl.lit(name).alias("design")) for name, table in there.items() if table is not None]
    return pl.concat(parts).sort(
        pl.col("scope").replace_strict({name: i for i, name in enumerate(("overall", *TRANSFER_REGIMES))}),
        maintain_order=True,
    )


def _step(made: Tables, name: str, most: int) -> int:
    n = frame(made, name)["target"].n_unique()
    return max(34, min(most, 640 // max(n, 1)))


SECTIONS: tuple[Section, ...] = (
    Section(
        "regimes",
        "How big is the effect?",
        "Each row is one kind of target. The bar holds the middle half of all cells, the line 90 % of them, the tick "
        "is the median and the diamond (with its number) the mean; left of zero the model got worse.",
        "regime_summary",
        lambda s, m, page: effects.spread(regimes.quantiles(s.transfer), _width(page, 620)),
        chapter="Effect",
    ),
    Section(
        "language_roles",
        "Which languages give, which take?",
        "A circle far right means that training on this language helps the same task in other languages; a square far "
        "right means that this language gains when others are trained on. Bars are 95 % intervals over draws of items, "
        "seeds and models (± one standard error over models where items are not known): when two bars overlap much, do "
        "not call one the better donor.",
        "language_roles",
        lambda s, m, page: effects.roles(role_rows(m, "language"), "language", _width(page, 620)),
        chapter="Who gives, who takes",
    ),
    Section(
        "task_roles",
        "Which tasks give, which take?",
        "The same for tasks: what training on this task does to other tasks of the same language (circle), and what "
        "other tasks do to it (square).",
        "task_roles",
        lambda s, m, page: effects.roles(role_rows(m, "task"), "task", _width(page, 620)),
    ),
    Section(
        "matrix",
        "Every source on every target",
        "A row is what an adapter was trained on, a column what it was scored on. Blue: better than the untouched "
        "model; red: worse; a dash marks harm (a point or more lost). Bright diagonal blocks mean that a gain stays "
        "within its task, dashes outside them are its price. Hover or tap a cell for its numbers.",
        "matrix",
        lambda s, m, page: heat.matrix(matrix_rows(s, m)),
        wide=True,
        chapter="The matrix",
    ),
    Section(
        "language_matrix",
        "Language to language, within a task",
        "Mean change in the column's language after training on the same task in the row's language.",
        "language_matrix",
        lambda s, m, page: heat.square(frame(m, "language_matrix"), "language", _step(m, "language_matrix", 46)),
        wide=True,
    ),
    Section(
        "task_matrix",
        "Task to task, within a language",
        "Mean change in the column's task after training on the row's task in the same language.",
        "task_matrix",
        lambda s, m, page: heat.square(frame(m, "task_matrix"), "task", _step(m, "task_matrix", 90)),
        wide=True,
    ),
    Section(
        "pareto",
        "Gain at home, price elsewhere",
        "Each point is one source. Right: it helps its own task in other languages; up: it helps (or spares) other "
        "tasks. Ringed points are the best trades: no other source of the model beats them on both.",
        "pareto",
        lambda s, m, page: effects.pareto(frame(m, "pareto"), _width(page, 640)),
        chapter="What harms",
    ),
    Section(
        "on_off_task",
        "On and off the own task",
        "For each task trained on: the mean change on the same task in other languages, and on other tasks; beside "
        "each bar, how many of its cells lost a point or more.",
        "on_off_task",
        lambda s, m, page: effects.on_off(frame(m, "on_off_task"), _width(page, 620)),
    ),
    Section(
        "variance",
        "Model, source or target?",
        "How much of the spread of Δ goes with the model, with what was trained on, with what was scored, and with "
        "none of them alone. Crossed: each has one effect everywhere. Nested: source and target effects anew in every "
        "model, as the reference study fits it. With one model its own share cannot be told.",
        "variance_crossed",
        lambda s, m, page: agreement.shares(share_rows(m), _width(page, 560)),
        chapter="What decides it, and do models agree",
    ),
    Section(
        "consistency",
        "Does a source rank its targets alike in every model?",
        "The dot is the median over sources, the bar the middle half. 1: all models agree which targets gain most; "
        "0: knowing one model tells nothing about the next.",
        "consistency",
        lambda s, m, page: agreement.consistency(frame(m, "consistency"), _width(page, 560)),
    ),
    Section(
        "linguistic",
        "Do related languages help each other more?",
        "A point is a language pair; left are close languages. A line that falls to the right means that closeness "
        "helps. The p-values below allow for pairs that share a language.",
        "linguistic",
        lambda s, m, page: agreement.distance(linguistic.pairs(s.transfer), _width(page, 560)),
    ),
)


PLAIN: dict[str, str] = {
    "harm_breakdown": "How often transfer to another language of the same task loses a point or more, by what is hit. "
    "Click a heading to sort.",
    "kendall_w": "W is 1 when every model ranks donors (or recipients) alike and near 0 when they do not agree; the "
    "p-value says how often chance alone would reach it.",
    "asymmetry": "0 %: what a gives b, b gives a. 50 %: giving says nothing about getting back. 100 %: one's gain is "
    "the other's loss.",
    "curated_vs_translated": "Near 1, the ranking of donor languages does not depend on machine translation.",
}


def specs(study: Study, made: Tables, page: bool) -> dict[str, Spec]:
    """The specification of every section whose table was made."""
    return {s.name: s.draw(study, made, page) for s in SECTIONS if made[s.table].frame is not None}
