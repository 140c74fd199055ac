"""Charts of curves: what more examples bring, task by task, and what lambda does, composition by composition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from analysis.page.charts import said
from analysis.page.charts.style import CATEGORIES, MODEL_TITLE, Spec, data, model_menu, spec
from analysis.page.words import REGIMES

if TYPE_CHECKING:
    import altair as alt


def curves(frame: pl.DataFrame) -> Spec:
    """Mean Δ by examples, a panel per task and a line per regime, over the band of its interval.

    `frame` has rows of `learning_curve`, of which those of tasks are drawn.
    """
    import altair as alt

    drawn = frame.filter(pl.col("of") == "task", pl.col("examples").is_not_null())
    rows = drawn.with_columns(pl.col("regime").replace_strict(REGIMES).alias("target"))
    panel = _panel(rows).properties(width=270, height=220)
    chart = panel.facet(facet=alt.Facet("source_task:N", title="trained on"), columns=2)
    names = rows["model"].unique().sort().to_list()
    if len(names) > 1:
        chart = chart.add_params(model_menu(names)).transform_filter("datum.model == model_shown")
        chart = chart.properties(title=MODEL_TITLE)
    told = said.course(rows, ["source_task", "target"], "examples", "mean")
    return spec(chart, f"Mean Δ, pp, from the fewest examples to the most. {told}.")


def _panel(rows: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    order = [name for name in REGIMES.values() if name in rows["target"].to_list()]
    tint = alt.Scale(range=CATEGORIES)
    shown = alt.Chart(data(rows))
    base = shown.encode(
        x=alt.X("examples:Q", scale=alt.Scale(type="log", nice=False, padding=10), axis=alt.Axis(format="~s")),
        color=alt.Color(
            "target:N", title=None, sort=order, scale=tint, legend=alt.Legend(orient="top", symbolOpacity=1)
        ),
    )
    mean = alt.Y("mean:Q", title="mean Δ, pp")
    tips = [
        "target:N",
        "examples:Q",
        *(alt.Tooltip(f"{name}:Q", format="+.2f") for name in ("mean", "low", "high", "step")),
        alt.Tooltip("q_better:Q", title="q of better than with fewer", format=".3f"),
        alt.Tooltip("q_worse:Q", title="q of worse than with fewer", format=".3f"),
        "n_cells:Q",
    ]
    return alt.layer(
        shown.mark_rule(color="#777777").encode(y=alt.datum(0)),
        base.mark_area(opacity=0.13).encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=mean),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=mean, tooltip=tips),
    )


def training(frame: pl.DataFrame) -> Spec | None:
    """Mean Δ by epoch, a line per regime over the band of its interval, a panel per model.

    `frame` has rows of `epochs`, of which means of accuracies are drawn.
    """
    import altair as alt

    drawn = frame.filter(pl.col("family") == "regime", pl.col("regime") != "all", pl.col("metric") == "accuracy")
    if not drawn.height:
        return None
    rows = drawn.with_columns(pl.col("regime").replace_strict(REGIMES).alias("target"))
    shown = alt.Chart(data(rows))
    order = [name for name in REGIMES.values() if name in rows["target"].to_list()]
    base = shown.encode(
        x=alt.X("epoch:O", title="epoch", axis=alt.Axis(labelAngle=0)),
        color=alt.Color(
            "target:N",
            title=None,
            sort=order,
            scale=alt.Scale(range=CATEGORIES),
            legend=alt.Legend(orient="top", symbolOpacity=1),
        ),
    )
    mean = alt.Y("delta:Q", title="mean Δ, pp")
    tips = ["target:N", "epoch:O", *(alt.Tooltip(f"{name}:Q", format="+.2f") for name in ("delta", "low", "high"))]
    tips += [alt.Tooltip("q_harmed:Q", title="q of a loss of a point or more", format=".3f"), "n_cells:Q"]
    panel = alt.layer(
        shown.mark_rule(color="#777777").encode(y=alt.datum(0)),
        base.mark_area(opacity=0.13).encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=mean),
        base.mark_point(filled=True, size=80, opacity=1, fill="#ffffff", strokeWidth=1.5).encode(y=mean, tooltip=tips),
        base.transform_filter("datum.harmed").mark_point(filled=True, size=80, opacity=1).encode(y=mean, tooltip=tips),
    ).properties(width=270, height=220)
    chart = panel.facet(facet=alt.Facet("model:N", title=None), columns=2)
    told = said.course(rows, ["model", "target"], "epoch", "delta")
    return spec(chart, f"Mean Δ, pp, from the first epoch to the last. {told}.")


def told(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of `lambda_curve` that are drawn: those for which held-out items tell, and of a composition that is for
    a language those of its targets."""
    return frame.filter(pl.col("validation").is_not_null(), pl.col("own").fill_null(True))


def strengths(rows: pl.DataFrame) -> Spec:
    """Mean Δ by lambda on held-out and on test items, a panel per composition and metric; a point's size: how often
    chosen. `rows` are those of `told`."""
    import altair as alt

    named = pl.concat_str("name", pl.lit(", "), "metric") if rows["metric"].n_unique() > 1 else pl.col("name")
    means = [pl.col("validation").mean().alias("held-out items"), pl.col("test").mean().alias("test items")]
    keys = ["model", "name", "unit", "lambda"]
    wide = (
        rows.with_columns(named.alias("name"))
        .group_by(keys)
        .agg(*means, pl.col("chosen").sum().cast(pl.Int64), pl.len().cast(pl.Int64).alias("targets"))
    )
    drawn = wide.unpivot(
        on=["held-out items", "test items"],
        index=[*keys, "chosen", "targets"],
        variable_name="items",
        value_name="mean",
    ).sort(*keys, "items")
    shown = alt.Chart(data(drawn))
    base = shown.encode(
        x=alt.X("lambda:Q", title="λ"),
        y=alt.Y("mean:Q", title="mean Δ, " + " or ".join(drawn["unit"].unique().sort())),
        color=alt.Color("items:N", title=None, scale=alt.Scale(range=CATEGORIES), legend=alt.Legend(orient="top")),
    )
    counts = drawn["chosen"].unique().sort().to_list()
    legend = alt.Legend(orient="bottom", values=[count for count in counts if count], format="d")
    size = alt.Size("chosen:Q", title="targets it was chosen for", legend=legend)
    tips = ["name:N", "items:N", "lambda:Q", alt.Tooltip("mean:Q", format="+.2f"), "chosen:Q", "targets:Q"]
    panel = alt.layer(
        shown.mark_rule(color="#777777").encode(y=alt.datum(0)),
        base.mark_line(strokeWidth=2),
        base.mark_point(filled=True, opacity=1).encode(size=size, tooltip=tips),
    ).properties(width=230, height=180)
    chart = panel.facet(facet=alt.Facet("name:N", title=None), columns=3)
    names = drawn["model"].unique().sort().to_list()
    if len(names) > 1:
        chart = chart.add_params(model_menu(names)).transform_filter("datum.model == model_shown")
        chart = chart.properties(title=MODEL_TITLE)
    return spec(chart, f"Mean Δ by lambda. {said.course(drawn, ['name', 'items'], 'lambda', 'mean')}.")
