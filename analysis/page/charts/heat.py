"""Heat maps: every source on every target, task to task, language to language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from analysis.frames import HARM_PP, SOURCE, TARGET, cell
from analysis.page.charts import said
from analysis.page.charts.style import MODEL_TITLE, Spec, colour, data, model_menu, reach, spec

if TYPE_CHECKING:
    import altair as alt

INKS = "#ffffff", "#000000"  # on deep colours, and on pale ones: 4.5:1 on each
DEEP = -0.735, 0.775  # from there on, parts of the scale's reach
LETTER_PX, LEAST_PX, MOST_PX = 8, 14, 44


def matrix(frame: pl.DataFrame) -> Spec:
    """Sources (rows) × targets (columns), blocked by task; one row of `frame` per (model, source, target).

    Columns `low, high, q_worse, q_better, gains, losses` are shown on hover where they are there. A dash marks
    harm that is printed, a cross what is called worse; menus pick the model (when there are several) and the regime.
    """
    import altair as alt

    regimes = ["all", *sorted(frame["regime"].unique().to_list(), reverse=True)]
    pick = alt.param(name="regime_shown", value="all", bind=alt.binding_select(options=regimes, name="Regime "))
    chart = _blocks(frame, _roomy(frame)).add_params(pick)
    names = frame["model"].unique(maintain_order=True).to_list()
    if len(names) > 1:
        chart = chart.add_params(model_menu(names)).transform_filter("datum.model == model_shown")
        chart = chart.properties(title=MODEL_TITLE)
    chart = chart.transform_calculate(
        source="datum.source_task + '/' + datum.source_language",
        target="datum.target_task + '/' + datum.target_language",
    )
    if "low" in frame.columns:
        words = "isValid(datum.low) ? format(datum.low, '+.1f') + ' to ' + format(datum.high, '+.1f') : 'not known'"
        chart = chart.transform_calculate(interval=words)
    first = frame.filter(pl.col("model") == names[0]) if names else frame
    ends = said.extremes(first.with_columns(of=cell(*SOURCE), on=cell(*TARGET)), ["of", "on"], "delta", " on ")
    losses = int((first["delta"] <= HARM_PP).sum())
    told = "worse" in first.columns and first["worse"].null_count() < first.height  # not of means, nor without items
    claim = (
        f"{int(first['worse'].sum()):,} can be called worse"
        if told
        else "none of it is tested: claims are of one model's items"
    )
    return spec(
        chart,
        f"{''.join(names[:1])}: Δ of {first.height:,} cells, sources in rows and targets in columns, {ends} pp; "
        f"{losses:,} lose a point or more; {claim}.",
    )


def _roomy(frame: pl.DataFrame) -> int:
    """Pixels of a cell: so many that the name of a task fits beside its block."""
    ends = ("source", "target")
    longest = [max((len(str(name)) for name in frame[f"{end}_task"].unique()), default=0) for end in ends]
    across = [max(frame[f"{end}_language"].n_unique(), 1) for end in ends]
    wanted = max(LETTER_PX * letters / n for letters, n in zip(longest, across, strict=True))
    return round(min(max(wanted, LEAST_PX), MOST_PX))


def _blocks(frame: pl.DataFrame, cell_px: int) -> alt.FacetChart:
    """Cells and their dashes, a block per (source task, target task); those of another regime than shown are faint."""
    import altair as alt

    sources, targets = (sorted(frame[f"{end}_language"].unique().to_list()) for end in ("source", "target"))
    labels = alt.Axis(labelFontSize=9, ticks=False, domain=False, labelPadding=3)
    base = alt.Chart(data(frame)).encode(
        x=alt.X("target_language:N", sort=targets, title=None, axis=labels),
        y=alt.Y("source_language:N", sort=sources, title=None, axis=labels),
        tooltip=_hover(frame),
    )
    shown = "regime_shown == 'all' || datum.regime == regime_shown"
    cells = base.mark_rect(stroke="#ffffff", strokeWidth=0.6).encode(
        color=colour(frame), opacity=alt.condition(shown, alt.value(1), alt.value(0.12))
    )
    sure = "isValid(datum.worse) && datum.worse" if "worse" in frame.columns else "false"
    harm = (
        base.transform_calculate(mark=f"({sure}) ? '×' : '–'")
        .mark_text(fontSize=cell_px * 0.75, fontWeight="bold", baseline="middle")
        .encode(
            text="mark:N",
            opacity=alt.condition(
                f"(({sure}) || datum.delta <= {HARM_PP:g}) && ({shown})", alt.value(0.9), alt.value(0)
            ),
            color=_ink(reach(frame["delta"])),
        )
    )
    block = alt.layer(cells, harm).properties(width=cell_px * len(targets), height=cell_px * len(sources))
    return block.facet(
        row=alt.Row("source_task:N", title="trained on (donor)", header=alt.Header(labelAngle=-90, labelPadding=4)),
        column=alt.Column("target_task:N", title="scored on (recipient)", header=alt.Header(labelPadding=4)),
        spacing=5,
    )


def _ink(far: float) -> dict[str, object]:
    """The colour of what is written on a cell."""
    import altair as alt

    low, high = (round(part * far, 4) for part in DEEP)
    white, black = map(alt.value, INKS)
    return dict(alt.condition(f"datum.delta < {low} || datum.delta > {high}", white, black))


def _hover(frame: pl.DataFrame) -> list[alt.Tooltip]:
    import altair as alt

    tips = [
        alt.Tooltip("source:N", title="trained on"),
        alt.Tooltip("target:N", title="scored on"),
        alt.Tooltip("delta:Q", title="Δ, pp", format="+.2f"),
    ]
    if "low" in frame.columns:
        tips += [
            alt.Tooltip("interval:N", title="95 % interval"),
            alt.Tooltip("q_worse:Q", title="q of worse", format=".3f"),
            alt.Tooltip("q_better:Q", title="q of better", format=".3f"),
            alt.Tooltip("gains:Q", title="items gained"),
            alt.Tooltip("losses:Q", title="items lost"),
        ]
    return [*tips, alt.Tooltip("n:Q", title="n"), alt.Tooltip("regime:N", title="regime")]


def square(frame: pl.DataFrame, what: str, cell_px: int) -> Spec:
    """A task or language matrix (`source, target, delta`) with its numbers printed in the cells."""
    import altair as alt

    n = max(frame["source"].n_unique(), frame["target"].n_unique())
    far = reach(frame["delta"])
    base = alt.Chart(data(frame)).encode(
        x=alt.X("target:N", title=f"scored on ({what})", axis=alt.Axis(orient="top", labelAngle=0 if n > 6 else -20)),
        y=alt.Y("source:N", title=f"trained on ({what})"),
        tooltip=[
            alt.Tooltip("source:N", title="trained on"),
            alt.Tooltip("target:N", title="scored on"),
            alt.Tooltip("delta:Q", title="Δ, pp", format="+.2f"),
        ],
    )
    cells = base.mark_rect(stroke="#ffffff", strokeWidth=1).encode(color=colour(frame))
    words = base.mark_text(fontSize=10 if cell_px < 50 else 12).encode(
        text=alt.Text("delta:Q", format="+.1f"), color=_ink(far)
    )
    chart = alt.layer(cells, words).properties(width=cell_px * n, height=min(cell_px, 44) * n)
    ends = said.extremes(frame, ["source", "target"], "delta", " to ")
    return spec(chart, f"Mean Δ, pp, from one {what} to another: {ends}.")
