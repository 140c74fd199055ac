"""The figures of the report and the sentence that says how to read each.

A section is a figure, the table behind it and one plain sentence; when its table could not be made, the reason
stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from analysis.frames import ALL_MODELS, SOURCE, TARGET, TRANSFER_REGIMES
from analysis.page.charts import agreement, effects, heat
from analysis.page.charts.style import Spec
from analysis.reading.study import Study
from analysis.statistics import linguistic, regimes
from analysis.tables.registry import Made


@dataclass(frozen=True)
class Drawing:
    """What a figure is drawn from, and whether it goes onto the page or into a file."""

    study: Study
    made: dict[str, Made]
    frame: pl.DataFrame  # of the table behind the figure
    page: bool

    def width(self, pixels: int) -> int | str:
        """`pixels` in a file, what there is on the page."""
        return "container" if self.page else pixels


@dataclass(frozen=True)
class Section:
    """One figure: the table behind it, and how to read it."""

    table: str
    title: str
    how: str
    draw: Callable[[Drawing], Spec]
    figure: str = ""  # its name where it is not the table's
    wide: bool = False
    chapter: str = ""

    @property
    def name(self) -> str:
        """Name of the figure and of its files."""
        return self.figure or self.table


def matrix_rows(drawing: Drawing) -> pl.DataFrame:
    """Rows of the big heat map: the mean over models first (when there are several), then each model.

    `n` is the items of a model's cell, or the models of the mean's; intervals are there where they were computed.
    """
    rows = drawing.study.transfer.filter(pl.col("delta").is_not_null())
    columns = [*SOURCE, *TARGET, "regime", "delta"]
    tests = drawing.made["significance"].frame
    own = rows.select("model", *columns, pl.col("n_items").alias("n"))
    if tests is not None:
        known = tests.select("model", *SOURCE, *TARGET, "low", "high", "q_value", "gains", "losses")
        own = own.join(known, on=["model", *SOURCE, *TARGET], how="left")
    if rows["model"].n_unique() == 1:
        return own
    mean = drawing.frame.select(pl.lit(ALL_MODELS).alias("model"), *columns, pl.col("n_models").alias("n"))
    return pl.concat([mean, own], how="diagonal").select(own.columns)


def role_rows(drawing: Drawing, kind: str) -> pl.DataFrame:
    """`name, role, delta, low, high`: resampling intervals where items are known, else one standard error each way."""
    stable = drawing.made["rank_stability"].frame
    if stable is not None and kind in stable["kind"]:
        wanted = stable.filter(pl.col("kind") == kind)
        return wanted.select("name", "role", pl.col("estimate").alias("delta"), "low", "high")
    sides = [
        drawing.frame.select(
            pl.col(kind).alias("name"),
            pl.lit(side).alias("role"),
            pl.col(side).alias("delta"),
            (pl.col(side) - pl.col(f"{side}_se")).alias("low"),
            (pl.col(side) + pl.col(f"{side}_se")).alias("high"),
        )
        for side in ("donor", "recipient")
    ]
    return pl.concat(sides).filter(pl.col("delta").is_not_null())


def share_rows(drawing: Drawing) -> pl.DataFrame:
    """Both variance tables under one another, by scope."""
    designs = {"crossed": "variance_crossed", "nested": "variance_nested"}
    there = {name: drawing.made[table].frame for name, table in designs.items()}
    parts = [table.with_columns(pl.lit(name).alias("design")) for name, table in there.items() if table is not None]
    return pl.concat(parts).sort(
        pl.col("scope").replace_strict({name: i for i, name in enumerate(("overall", *TRANSFER_REGIMES))}),
        maintain_order=True,
    )


def _square(drawing: Drawing, what: str, most: int) -> Spec:
    """A task or language matrix whose cells are at most `most` pixels wide."""
    n = drawing.frame["target"].n_unique()
    return heat.square(drawing.frame, what, max(34, min(most, 640 // max(n, 1))))


SECTIONS: tuple[Section, ...] = (
    Section(
        "regime_summary",
        "How big is the effect?",
        "Each row is one kind of target. The bar holds the middle half of all cells, the line 90 % of them, the tick "
        "is the median and the diamond (with its number) the mean; left of zero the model got worse.",
        lambda drawing: effects.spread(regimes.quantiles(drawing.study.transfer), drawing.width(620)),
        figure="regimes",
        chapter="Effect",
    ),
    Section(
        "language_roles",
        "Which languages give, which take?",
        "A circle far right means that training on this language helps the same task in other languages; a square far "
        "right means that this language gains when others are trained on. Bars are 95 % intervals over draws of items, "
        "seeds and models (± one standard error over models where items are not known): when two bars overlap much, do "
        "not call one the better donor.",
        lambda drawing: effects.roles(role_rows(drawing, "language"), "language", drawing.width(620)),
        chapter="Who gives, who takes",
    ),
    Section(
        "task_roles",
        "Which tasks give, which take?",
        "The same for tasks: what training on this task does to other tasks of the same language (circle), and what "
        "other tasks do to it (square).",
        lambda drawing: effects.roles(role_rows(drawing, "task"), "task", drawing.width(620)),
    ),
    Section(
        "matrix",
        "Every source on every target",
        "A row is what an adapter was trained on, a column what it was scored on. Blue: better than the untouched "
        "model; red: worse; a dash marks harm (a point or more lost). Bright diagonal blocks mean that a gain stays "
        "within its task, dashes outside them are its price. Hover or tap a cell for its numbers.",
        lambda drawing: heat.matrix(matrix_rows(drawing)),
        wide=True,
        chapter="The matrix",
    ),
    Section(
        "language_matrix",
        "Language to language, within a task",
        "Mean change in the column's language after training on the same task in the row's language.",
        lambda drawing: _square(drawing, "language", 46),
        wide=True,
    ),
    Section(
        "task_matrix",
        "Task to task, within a language",
        "Mean change in the column's task after training on the row's task in the same language.",
        lambda drawing: _square(drawing, "task", 90),
        wide=True,
    ),
    Section(
        "pareto",
        "Gain at home, price elsewhere",
        "Each point is one source. Right: it helps its own task in other languages; up: it helps (or spares) other "
        "tasks. Ringed points are the best trades: no other source of the model beats them on both.",
        lambda drawing: effects.pareto(drawing.frame, drawing.width(640)),
        chapter="What harms",
    ),
    Section(
        "on_off_task",
        "On and off the own task",
        "For each task trained on: the mean change on the same task in other languages, and on other tasks; beside "
        "each bar, how many of its cells lost a point or more.",
        lambda drawing: effects.on_off(drawing.frame, drawing.width(620)),
    ),
    Section(
        "variance_crossed",
        "Model, source or target?",
        "How much of the spread of Δ goes with the model, with what was trained on, with what was scored, and with "
        "none of them alone. Crossed: each has one effect everywhere. Nested: source and target effects anew in every "
        "model, as the reference study fits it. With one model its own share cannot be told.",
        lambda drawing: agreement.shares(share_rows(drawing), drawing.width(560)),
        figure="variance",
        chapter="What decides it, and do models agree",
    ),
    Section(
        "consistency",
        "Does a source rank its targets alike in every model?",
        "The dot is the median over sources, the bar the middle half. 1: all models agree which targets gain most; "
        "0: knowing one model tells nothing about the next.",
        lambda drawing: agreement.consistency(drawing.frame, drawing.width(560)),
    ),
    Section(
        "linguistic",
        "Do related languages help each other more?",
        "A point is a language pair; left are close languages. A line that falls to the right means that closeness "
        "helps. The p-values below allow for pairs that share a language.",
        lambda drawing: agreement.distance(linguistic.pairs(drawing.study.transfer), drawing.width(560)),
    ),
)


def specs(study: Study, made: dict[str, Made], page: bool) -> dict[str, Spec]:
    """The specification of every section whose table was made."""
    there = [(section, made[section.table].frame) for section in SECTIONS]
    return {s.name: s.draw(Drawing(study, made, frame, page)) for s, frame in there if frame is not None}
