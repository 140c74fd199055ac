"""Charts of what decides Δ and whether models agree: variance shares, consistency, linguistic distance."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from analysis.page.charts import said
from analysis.page.charts.style import BLUE, ORANGE, Spec, data, rule_at_zero, spec
from analysis.page.words import signed

PARTS = {
    "model": "#4477aa",
    "source": "#ee8866",
    "target": "#44bb99",
    "model × source": "#99aadd",
    "model × target": "#77aaaa",
    "source × target": "#eedd88",
    "model × source × target": "#ffccaa",
    "measurement": "#bbbbbb",
    "residual": "#dddddd",
}


def shares(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """Stacked shares of variance per scope; `frame` is `design, scope, component, share, share_se`.

    What is estimated below 0, as what is not there is half of the time, is drawn as 0.
    """
    import altair as alt

    rows = frame.filter(pl.col("share").is_not_null()).with_columns(
        pl.concat_str("scope", pl.lit(" ("), "design", pl.lit(")")).alias("row"),
        pl.col("component").replace_strict({name: i for i, name in enumerate(PARTS)}).alias("place"),
        pl.format("{} %", pl.col("share").round(0).cast(pl.Int64)).alias("label"),
        pl.col("share").clip(0.0).alias("drawn"),
    )
    order = rows["row"].unique(maintain_order=True).to_list()
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("row:N", sort=order, title=None),
        x=alt.X("drawn:Q", stack="normalize", title="share of the variance of Δ", axis=alt.Axis(format="%")),
        order="place:Q",
        tooltip=[
            "scope:N",
            "design:N",
            "component:N",
            alt.Tooltip("share:Q", title="share, %", format=".1f"),
            alt.Tooltip("share_se:Q", title="standard error, %", format=".1f"),
        ],
    )
    scale = alt.Scale(domain=list(PARTS), range=list(PARTS.values()))
    bars = base.mark_bar(stroke="#5f6670", strokeWidth=1).encode(
        color=alt.Color("component:N", title=None, scale=scale, legend=alt.Legend(orient="top", columns=5))
    )
    text = base.mark_text(fontSize=11, color="#111111").encode(
        x=alt.X("drawn:Q", stack="normalize", bandPosition=0.5),
        text="label:N",
        detail="component:N",
        opacity=alt.condition("datum.share >= 6", alt.value(1), alt.value(0)),
    )
    chart = alt.layer(bars, text).properties(width=width, height=28 * len(order))
    return spec(chart, f"Shares of the variance of Δ. {said.listed(_rows_said(rows))}.")


def _rows_said(rows: pl.DataFrame) -> Iterator[str]:
    """Each row of the figure, its largest share first."""
    for (row,), part in rows.sort("share", descending=True).group_by("row", maintain_order=True):
        shares = ", ".join(f"{name} {label}" for name, label in part.select("component", "label").iter_rows())
        yield f"{row}: {shares}"


def consistency(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """Median and quartiles over sources of the Consistency Index, by axis and regime; a tick where noise caps it."""
    import altair as alt

    rows = frame.with_columns(pl.concat_str("regime", pl.lit(", by "), "axis").alias("row"))
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("row:N", sort=rows["row"].to_list(), title=None),
        tooltip=[
            "row:N",
            *(alt.Tooltip(f"{c}:Q", format="+.2f") for c in ("median", "q1", "q3", "ceiling")),
            "n_sources:Q",
        ],
    )
    scale = alt.Scale(domain=[-1, 1])
    line = base.mark_rule(strokeWidth=6, color="#5b8fc0").encode(
        x=alt.X("q1:Q", title="Consistency Index (mean Kendall τ-b)", scale=scale), x2="q3:Q"
    )
    dots = base.mark_point(filled=True, size=80, color=BLUE, opacity=1, stroke="#ffffff").encode(x="median:Q")
    text = base.mark_text(dy=-11, fontSize=10).encode(x="median:Q", text=alt.Text("median:Q", format="+.2f"))
    cap = base.transform_filter("isValid(datum.ceiling)").mark_tick(thickness=2, height=18, color=ORANGE)
    chart = alt.layer(rule_at_zero("x"), line, cap.encode(x="ceiling:Q"), dots, text).properties(
        width=width, height=32 * rows.height
    )
    told = (
        f"{row['row']}: median {signed(row['median'])}, middle half {signed(row['q1'])} to {signed(row['q3'])}"
        for row in rows.iter_rows(named=True)
    )
    return spec(chart, f"Consistency Index over sources. {said.listed(told)}.")


def distance(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """Δ of each language pair against its linguistic distance; a menu picks the kind of distance."""
    import altair as alt

    kinds = frame["distance"].unique(maintain_order=True).to_list()
    pick = alt.param(name="distance_shown", value=kinds[0], bind=alt.binding_select(options=kinds, name="Distance "))
    base = (
        alt.Chart(data(frame))
        .transform_filter("datum.distance == distance_shown")
        .transform_calculate(pair="datum.source + ' → ' + datum.target")
        .encode(
            x=alt.X("value:Q", title="cosine distance of the languages", scale=alt.Scale(zero=False)),
            y=alt.Y("delta:Q", title="mean Δ, pp", scale=alt.Scale(zero=False)),
        )
    )
    dots = base.mark_point(filled=True, size=45, color=BLUE, opacity=0.7).encode(
        tooltip=[
            "pair:N",
            alt.Tooltip("delta:Q", format="+.2f"),
            alt.Tooltip("value:Q", title="distance", format=".3f"),
        ]
    )
    trend = base.transform_regression("value", "delta").mark_line(color="#c8641b", strokeWidth=2)
    chart = alt.layer(dots, trend).add_params(pick).properties(width=width, height=300)
    told = (
        f"{kind}: Pearson's r {signed(part.select(pl.corr('value', 'delta')).item())}"
        for (kind,), part in frame.group_by("distance", maintain_order=True)
    )
    pairs = frame.filter(pl.col("distance") == kinds[0])
    ends = said.extremes(pairs, ["source", "target"], "delta", " to ")
    return spec(
        chart, f"Mean Δ, pp, of {pairs.height:,} pairs of languages, {ends}. With distance: {said.listed(told)}."
    )
