"""What all figures share: colours, fonts, and data embedded compactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import altair as alt

Spec = dict[str, object]  # a Vega-Lite specification
DIVERGING = ["#8c1127", "#d6604d", "#f9c9b0", "#f7f7f7", "#bcdcec", "#4393c3", "#0b4a85"]
BLUE, ORANGE = "#0b4a85", "#c8641b"
EDGE = "#5f7f9f"  # around what is paler than 3:1 on white
CATEGORIES = [
    "#0b4a85",
    "#c04f12",
    "#22794a",
    "#8c1127",
    "#7a52ab",
    "#7d6210",
    "#b03a8a",
    "#2f7480",
    "#5f5f5f",
    "#2f72c4",
]
MODEL_TITLE = {"text": {"expr": "model_shown"}, "anchor": "start", "fontSize": 13, "fontWeight": 500}
IN_FILES = "'Liberation Sans', Arial, Helvetica, sans-serif"  # of the widths by which a file's texts are placed
CONFIG: Spec = {
    "font": "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif",
    "background": "#ffffff",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "gridColor": "#e8e8e8",
        "labelLimit": 220,
        "labelSeparation": 4,
        "titlePadding": 10,
    },
    "legend": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500},
    "header": {"labelFontSize": 12, "labelFontWeight": 600, "titleFontSize": 12, "titleFontWeight": 500},
}


def data(frame: pl.DataFrame) -> alt.InlineData:
    """The frame as CSV inside the specification: a third of the size of a list of objects."""
    import altair as alt

    def kind(dtype: pl.DataType) -> str:
        return "number" if dtype.is_numeric() else "boolean" if dtype == pl.Boolean else "string"

    rounded = frame.with_columns(pl.col(pl.Float64, pl.Float32).round(4))
    parse = {name: kind(dtype) for name, dtype in rounded.schema.items()}
    return alt.InlineData(values=rounded.write_csv(), format=alt.CsvDataFormat(type="csv", parse=parse))


def spec(chart: alt.LayerChart | alt.FacetChart | alt.HConcatChart, describe: str) -> Spec:
    """The chart as a specification with the look that all figures share; `describe` is for who hears the page."""
    made: Spec = chart.properties(description=describe).to_dict(validate=False)
    made["config"] = CONFIG
    if made.get("width") == "container":
        made["autosize"] = {"type": "fit-x", "contains": "padding"}
    return made


def for_file(made: Spec) -> Spec:
    """The specification in fonts as wide as those by which places in files are found."""
    return {**made, "config": {**CONFIG, "font": IN_FILES}}


def colour(frame: pl.DataFrame) -> alt.Color:
    """Colour of `delta`; the legend says where it ends when some cells lie beyond."""
    import altair as alt

    far = reach(frame["delta"])
    beyond = float(frame["delta"].abs().max() or 0.0) > far  # type: ignore[arg-type]
    title = ["Δ, pp", "(ends: or more)"] if beyond else ["Δ, pp"]
    scale = alt.Scale(domain=[-far, 0, far], range=DIVERGING, interpolate="lab", clamp=True)
    return alt.Color("delta:Q", title=title, scale=scale, legend=alt.Legend(format="+.1f", gradientLength=160))


def reach(delta: pl.Series) -> float:
    """Where the colour scale ends: the 97th percentile of |Δ|, so that one extreme does not wash out the rest."""
    far = delta.drop_nulls().abs().quantile(0.97, "linear")
    return max(round(float(far or 0.0), 1), 0.5)


def model_menu(names: list[str]) -> alt.Parameter:
    """A menu of models; the first is shown, and is what a file shows."""
    import altair as alt

    return alt.param(name="model_shown", value=names[0], bind=alt.binding_select(options=names, name="Model "))


def near_zero(values: pl.Series) -> bool:
    """Whether an axis of these values should reach zero: it does not when they all lie far on one side of it."""
    low, high = float(values.min() or 0.0), float(values.max() or 0.0)  # type: ignore[arg-type]
    span = high - low
    return low <= 0 <= high or min(abs(low), abs(high)) < span


def rule_at_zero(axis: str) -> alt.Chart:
    """A thin line where Δ is 0: upright for axis x, level for axis y."""
    import altair as alt

    place = {"x": alt.X("zero:Q")} if axis == "x" else {"y": alt.Y("zero:Q")}
    rule: alt.Chart = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color="#777777").encode(**place)
    return rule
