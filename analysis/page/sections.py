"""The figures of the report and the sentence that says how to read each.

A section is a figure, the table behind it and one plain sentence; when its table could not be made, the reason
stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.page.charts import agreement, curves, effects, heat, published
from analysis.page.charts.style import Spec
from analysis.page.drawing import (
    Drawing,
    composed_points,
    matrix_rows,
    quadrant_rows,
    role_rows,
    run_rows,
    share_rows,
)
from analysis.reading.study import Study
from analysis.statistics import regimes
from analysis.statistics.languages import linguistic
from analysis.statistics.pareto import LEAST_OFF, LEAST_ON
from analysis.tables.registry import Made


@dataclass(frozen=True)
class Section:
    """One figure: the table behind it, and how to read it."""

    table: str
    title: str
    how: str
    draw: Callable[[Drawing], Spec | None]  # None where its rows are too few
    figure: str = ""  # its name where it is not the table's
    wide: bool = False
    chapter: str = ""
    few: str = ""  # why there is no figure though there is a table

    @property
    def name(self) -> str:
        """Name of the figure and of its files."""
        return self.figure or self.table


def _square(drawing: Drawing, what: str, most: int) -> Spec:
    """A task or language matrix whose cells are at most `most` pixels wide."""
    n = drawing.frame["target"].n_unique()
    return heat.square(drawing.frame, what, max(34, min(most, 640 // max(n, 1))))


def _runs(drawing: Drawing) -> Spec | None:
    rows = run_rows(drawing)
    return published.runs(rows, drawing.width(640)) if rows.height else None


def _strengths(drawing: Drawing) -> Spec | None:
    rows = curves.told(drawing.frame)
    return curves.strengths(rows) if rows.height else None


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
        "right means that this language gains when others are trained on; both are adjusted for what each met at the "
        "other end. Bars are 95 % intervals, over models where there are several, else over items and seeds of the one "
        "model. Two whose bars overlap are not ranked, but for the first and the last: the lines at the top say how "
        "often noise alone spreads them as far.",
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
        "language_roles",
        "Giving against taking",
        "Right: helps others when it is trained on; up: gains when others are. The dashed lines are the means, "
        "the bars 95 % intervals where they are known: a point whose bars cross a line may lie on either side. Raw "
        "scores, as the reference study draws them.",
        lambda drawing: published.quadrants(quadrant_rows(drawing), drawing.width(560)),
        figure="quadrants",
        wide=True,
    ),
    Section(
        "matrix",
        "Every source on every target",
        "A row is what an adapter was trained on, a column what it was scored on. Blue: better than the untouched "
        "model; red: worse. A dash marks a loss of a point or more, most of which noise may have made; a cross marks "
        "a cell that can be called worse (q ≤ 0.05). Bright diagonal blocks mean that a gain stays within its task. "
        "Hover or tap a cell for its numbers.",
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
        "tasks. Ringed points are the best trades: no other source of the model beats them on one side without losing "
        "on the other. Points close together may lie so by noise. Open diamonds are compositions, by the cells of all "
        "their parts.",
        lambda drawing: effects.pareto(drawing.frame, drawing.width(640), composed_points(drawing)),
        chapter="What harms",
    ),
    Section(
        "pareto",
        "Every run: gain at home, price elsewhere",
        "The same of all models at once, as the reference study draws it: a point per model and source, by the family "
        f"and size of the model (S up to 1.5, L from 7 billion parameters), of runs with {LEAST_ON} targets on the own "
        f"task and {LEAST_OFF} elsewhere or more.",
        _runs,
        figure="runs",
        few=f"no run has {LEAST_ON} targets on its own task and {LEAST_OFF} elsewhere",
    ),
    Section(
        "on_off_task",
        "On and off the own task",
        "For each task trained on: the mean change on the same task in other languages, and on other tasks; beside "
        "each bar, how many of its cells show a loss of a point or more, and how many noise alone would show.",
        lambda drawing: effects.on_off(drawing.frame, drawing.width(620)),
    ),
    Section(
        "learning_curve",
        "What more examples bring",
        "Right: more examples were learned from, the last point is all of them; up: the mean change on targets of that "
        "kind, the languages of the task together, with its 95 % interval. Two points whose bands overlap may differ "
        "all the same, for they answered the same items: `step` in the table is their difference, with its interval "
        "and q-values. The samples were drawn once, and how lucky that draw was is in no interval.",
        lambda drawing: curves.curves(drawing.frame),
        wide=True,
        chapter="More examples",
    ),
    Section(
        "epochs",
        "When harm begins",
        "Right: epochs of training; up: the mean change over the targets of that kind, with its 95 % interval. A dark "
        "point: beyond chance a loss of a point or more on average, with q-values over all epochs. The table has every "
        "source and target, and `first_harm`, the first epoch after which it is harmed for certain.",
        lambda drawing: curves.training(drawing.frame),
        wide=True,
        chapter="Epoch by epoch",
        few="only metrics that are no accuracy were scored",
    ),
    Section(
        "lambda_curve",
        "What λ does",
        "Right: λ; up: the mean change on targets in the language that a composition is for, or on all where it is for "
        "none. One line is of held-out items, which choose λ, the other of the test items that the tables are of; the "
        "larger a point, the more targets it was chosen for. Where the lines peak apart, choosing costs: the best λ on "
        "test items is not known beforehand.",
        _strengths,
        wide=True,
        few="no λ has scores on held-out items",
    ),
    Section(
        "variance_crossed",
        "Model, source or target?",
        "How much of the spread of Δ goes with the model, with what was trained on, with what was scored, and with "
        "pairs of them. Read the rows with noise taken out (shares below 0 are drawn as 0, the table has them): "
        "measurement is what items and seeds add, and looks like an "
        "effect of the target in the other rows. Crossed: each has one effect everywhere. Nested: source and target "
        "effects anew in every model, as the reference study fits it. With one model its own share cannot be told.",
        lambda drawing: agreement.shares(share_rows(drawing), drawing.width(560)),
        figure="variance",
        chapter="What decides it, and do models agree",
    ),
    Section(
        "consistency",
        "Does a source rank its targets alike in every model?",
        "The dot is the median over sources, the bar the middle half. 1: all models agree which targets gain most; "
        "0: knowing one model tells nothing about the next. The upright tick is how high it would be if they agreed "
        "perfectly, given the noise of items and seeds.",
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
    """The specification of every section whose table was made and has rows enough."""
    there = [section for section in SECTIONS if section.table in made]
    found = {section.name: draw(section, study, made, page) for section in there}
    return {name: one for name, one in found.items() if one is not None}


def draw(section: Section, study: Study, made: dict[str, Made], page: bool) -> Spec | None:
    """The specification of a section; None where its table was not made, or has too few rows.

    Altair checks every part of a chart against its schema, which takes most of the time; the tests do that.
    """
    from altair.utils import schemapi

    frame = made[section.table].frame
    if frame is None:
        return None
    with schemapi.debug_mode(False):
        return section.draw(Drawing(study, made, frame, page))
