"""Charts of effects: spread by regime, donors and recipients, the on-task/off-task trade."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from analysis.page.charts import said
from analysis.page.charts.style import (
    BLUE,
    CATEGORIES,
    EDGE,
    MODEL_TITLE,
    ORANGE,
    Spec,
    data,
    model_menu,
    near_zero,
    rule_at_zero,
    spec,
)
from analysis.page.words import signed, sources_of

if TYPE_CHECKING:
    import altair as alt

REGIME_WORDS = {
    "MT-ML": "its own cell|(MT-ML)",
    "MT-CL": "same task,|other language (MT-CL)",
    "CT-ML": "other task,|same language (CT-ML)",
    "CT-CL": "other task and|language (CT-CL)",
}


def roles(frame: pl.DataFrame, kind: str, width: int | str = "container") -> Spec:
    """Donor and recipient score of each language or task with its interval; a menu picks the order.

    `frame` is long: `name, role (donor or recipient), delta, low, high`.
    """
    import altair as alt

    words = {"donor": "gives (donor)", "recipient": "takes (recipient)"}
    rows = frame.with_columns(pl.col("role").replace_strict(words))
    names = sorted(frame["name"].unique().to_list())
    by_role = {
        side: frame.filter(pl.col("role") == side).sort("delta", descending=True)["name"].to_list() for side in words
    }
    orders = {"what it gives": by_role["donor"], "what it takes": by_role["recipient"], "name": names}
    full = {label: [*order, *(name for name in names if name not in order)] for label, order in orders.items()}
    pick = alt.param(
        name="sorted_by", value="what it gives", bind=alt.binding_select(options=list(full), name="Sort by ")
    )
    shown = alt.Scale(domain=alt.ExprRef(f"({json.dumps(full)})[sorted_by]"))
    zero = near_zero(rows["delta"])
    axis = alt.X("delta:Q", title="mean Δ, pp", scale=alt.Scale(zero=zero))
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("name:N", scale=shown, title=None),
        yOffset=alt.YOffset("role:N", scale=alt.Scale(paddingOuter=0.4)),
    )
    tint = alt.condition(f"datum.role == '{words['donor']}'", alt.value(BLUE), alt.value(ORANGE))
    bars = (
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", color=tint)
    )
    top = alt.Legend(orient="top", title=None)
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=axis,
        color=alt.Color("role:N", scale=alt.Scale(range=[BLUE, ORANGE]), legend=top),
        shape=alt.Shape("role:N", scale=alt.Scale(range=["circle", "square"]), legend=top),
        tooltip=["name:N", "role:N", *(alt.Tooltip(f"{c}:Q", format="+.2f") for c in ("delta", "low", "high"))],
    )
    layers = [dots] if rows["low"].is_null().all() else [bars, dots]
    chart = alt.layer(*([rule_at_zero("x")] if zero else []), *layers).add_params(pick)
    chart = chart.properties(width=width, height=30 * len(names))
    return spec(chart, f"Mean Δ, pp, of {len(names)} {kind}s: {_sides(frame)}.")


def _sides(frame: pl.DataFrame) -> str:
    words = {"donor": "as donors", "recipient": "as recipients"}
    of = {side: frame.filter(pl.col("role") == side) for side in words}
    return ", ".join(f"{words[side]} {said.extremes(rows, ['name'], 'delta')}" for side, rows in of.items())


def spread(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """Per regime: 5th to 95th percentile (line), quartiles (bar), median (tick) and mean (diamond) of Δ."""
    import altair as alt

    frame = frame.with_columns(pl.col("regime").replace_strict(REGIME_WORDS, default=pl.col("regime")).alias("label"))
    order = [words for words in REGIME_WORDS.values() if words in frame["label"].to_list()]
    hover = [
        alt.Tooltip(f"{c}:Q", title=f"{c}, pp", format="+.2f") for c in ("mean", "median", "q1", "q3", "p05", "p95")
    ]
    base = alt.Chart(data(frame)).encode(
        y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelExpr="split(datum.label, '|')")),
        tooltip=[*hover, alt.Tooltip("n:Q")],
    )
    chart = alt.layer(
        rule_at_zero("x"),
        base.mark_rule(color=EDGE, strokeWidth=1.5).encode(x=alt.X("p05:Q", title="Δ, pp"), x2="p95:Q"),
        base.mark_bar(height=16, color="#a9c6de", stroke=EDGE, strokeWidth=1).encode(x="q1:Q", x2="q3:Q"),
        base.mark_tick(thickness=3, height=16, color=BLUE).encode(x="median:Q"),
        base.mark_point(shape="diamond", filled=True, size=70, color=ORANGE, opacity=1).encode(x="mean:Q"),
        base.mark_text(dy=-15, fontSize=11, color="#8a4310").encode(x="mean:Q", text=alt.Text("mean:Q", format="+.2f")),
    ).properties(width=width, height=50 * frame.height)
    told = (
        f"{row['label'].replace('|', ' ')}: mean {signed(row['mean'])}, middle half {signed(row['q1'])} to "
        f"{signed(row['q3'])}, 90 % of cells {signed(row['p05'])} to {signed(row['p95'])}"
        for row in frame.iter_rows(named=True)
    )
    return spec(chart, f"Spread of Δ, pp. {said.listed(told)}.")


def pareto(frame: pl.DataFrame, width: int | str = "container", composed: pl.DataFrame | None = None) -> Spec:
    """On-task gain (x) against off-task effect (y) of sources; the frontier is ringed, compositions are open marks."""
    import altair as alt

    source = pl.concat_str("source_task", "source_language", separator="/").alias("source")
    named = frame.with_columns(source, _losses().alias("lose"))
    names = named["model"].unique(maintain_order=True).sort().to_list()
    tips = [
        alt.Tooltip("source:N", title="trained on"),
        alt.Tooltip("on_task:Q", title="own task, pp", format="+.2f"),
        alt.Tooltip("off_task:Q", title="other tasks, pp", format="+.2f"),
        alt.Tooltip("lose:N", title="of other tasks"),
        alt.Tooltip("on_frontier:N", title="on the frontier"),
    ]
    shown = alt.Chart(data(named.drop("source_language")))
    if len(names) > 1:
        shown = shown.transform_filter("datum.model == model_shown")
    base = shown.encode(
        x=alt.X("on_task:Q", title="own task, other languages: mean Δ, pp", scale=alt.Scale(zero=False)),
        y=alt.Y("off_task:Q", title="other tasks: mean Δ, pp", scale=alt.Scale(zero=False)),
        tooltip=tips,
    )
    task = alt.Legend(orient="top", columns=2, title=None)
    dots = base.mark_point(filled=True, size=55, opacity=0.9).encode(
        color=alt.Color("source_task:N", legend=task, scale=alt.Scale(range=CATEGORIES)),
        shape=alt.Shape("source_task:N", legend=task),
    )
    edge = base.transform_filter("datum.on_frontier")
    rings = edge.mark_point(size=150, color="#1a1a1a", strokeWidth=1.4, opacity=1, shape="circle")
    line = edge.mark_line(color="#1a1a1a", strokeWidth=1, strokeDash=[4, 3], interpolate="linear").encode(
        order="on_task:Q"
    )
    words = edge.mark_text(dy=-12, fontSize=10).encode(text="source:N")
    zeros = [rule_at_zero(axis) for axis, side in (("x", "on_task"), ("y", "off_task")) if near_zero(frame[side])]
    chart = alt.layer(*zeros, line, dots, rings, words, *_open(composed, tips[:-1], len(names) > 1)).properties(
        width=width, height=340
    )
    if len(names) > 1:
        chart = chart.add_params(model_menu(names)).properties(title=MODEL_TITLE)
    return spec(chart, _best(named, len(names) > 1))


def _best(named: pl.DataFrame, several: bool) -> str:
    of_model = pl.concat_str("model", "source", separator=": ") if several else pl.col("source")
    best = named.filter("on_frontier").select(of_model).to_series()
    told = f"{sources_of(named.height, named)}: {said.trade(named)}. The best trades{' of each model' * several}"
    return f"{told}: {said.listed(best)}."


def _open(composed: pl.DataFrame | None, tips: list[alt.Tooltip], several: bool) -> list[alt.Chart]:
    """Open diamonds where compositions lie; nothing where there are none."""
    import altair as alt

    if composed is None or not composed.height:
        return []
    unknown = pl.lit(None, pl.Float64).alias("harm_floor")
    shown = alt.Chart(data(composed.with_columns(unknown).with_columns(_losses().alias("lose"))))
    if several:
        shown = shown.transform_filter("datum.model == model_shown")
    chart: alt.Chart = shown.mark_point(filled=False, shape="diamond", size=110, color="#1a1a1a", opacity=0.8).encode(
        x="on_task:Q", y="off_task:Q", tooltip=tips
    )
    return [chart]


def _losses() -> pl.Expr:
    """A harm rate with what noise alone would show, which nothing tells where no items are known."""
    known = pl.format(" (by noise alone: {} %)", _whole("harm_floor"))
    noise = pl.when(pl.col("harm_floor").is_not_null()).then(known).otherwise(pl.lit(" (by noise alone: not known)"))
    return pl.format("{} % lose a point", _whole("harm_rate")).add(noise)


def _whole(rate: str) -> pl.Expr:
    return pl.col(rate).round(0).cast(pl.Int64)


def on_off(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """Mean Δ of each source task on its own task in other languages and on other tasks, with the harm rate in words."""
    import altair as alt

    words = {"on_task": "own task, other languages", "off_task": "other tasks"}
    named = frame.with_columns(
        pl.col("side").replace_strict(words, default=pl.col("side")),
        _losses().alias("label"),
        pl.max_horizontal("mean", 0).alias("edge"),
    )
    ends = [min(0.0, *named["mean"].to_list()), max(0.0, *named["mean"].to_list())]
    room = 0.45 * (ends[1] - ends[0])  # for the words beside the bars
    scale = alt.Scale(domain=[ends[0] - 0.02 * room, ends[1] + room], nice=False)
    base = alt.Chart(data(named)).encode(
        y=alt.Y("source_task:N", title=None),
        yOffset=alt.YOffset("side:N", sort=list(words.values())),
        x=alt.X("mean:Q", title="mean Δ, pp", scale=scale),
        tooltip=[
            "source_task:N",
            "side:N",
            alt.Tooltip("mean:Q", format="+.2f"),
            alt.Tooltip("label:N", title="of its cells"),
            "n:Q",
        ],
    )
    shade = alt.Color("side:N", title=None, sort=list(words.values()), legend=alt.Legend(orient="top", columns=1))
    bars = base.mark_bar(height=15).encode(color=shade.scale(range=["#3784b5", "#b5762d"]))
    text = base.mark_text(align="left", dx=4, fontSize=10).encode(text="label:N", x="edge:Q")
    chart = alt.layer(bars, text).properties(width=width, height=22 * frame.height)
    told = (
        f"{row['source_task']}, {row['side']}: {signed(row['mean'])}, {row['label']}"
        for row in named.iter_rows(named=True)
    )
    return spec(chart, f"Mean Δ, pp, by task trained on. {said.listed(told)}.")
