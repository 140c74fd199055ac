"""The reference study's two headline figures, as it draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from analysis.page.charts import said
from analysis.page.charts.style import CATEGORIES, Spec, data, rule_at_zero, spec

if TYPE_CHECKING:
    import altair as alt

ENDS = ("", "_low", "_high")
SIZES = {"S": 40, "M": 130, "L": 320, "unknown": 70}  # px² of a point


def _sizes(frame: pl.DataFrame) -> alt.Scale:
    import altair as alt

    there = [size for size in SIZES if size in frame["size"]]
    return alt.Scale(domain=there, range=[SIZES[size] for size in there])


def runs(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """A point per run (model and source): gain on the own task against effect elsewhere, by family and size."""
    import altair as alt

    named = frame.with_columns(pl.concat_str("source_task", "source_language", separator="/").alias("source"))
    tips = ["model:N", "source:N", *(alt.Tooltip(f"{side}:Q", format="+.2f") for side in ("on_task", "off_task"))]
    dots = (
        alt.Chart(data(named))
        .mark_point(filled=True, opacity=0.85)
        .encode(
            x=alt.X("on_task:Q", title="same task, other languages: mean Δ, pp"),
            y=alt.Y("off_task:Q", title="other tasks: mean Δ, pp"),
            shape=alt.Shape("model_family:N", title="family", legend=alt.Legend(orient="top", columns=3)),
            size=alt.Size("size:O", title="size", scale=_sizes(frame), legend=alt.Legend(orient="top")),
            color=alt.Color(
                "source_task:N",
                title="trained on",
                scale=alt.Scale(range=CATEGORIES),
                legend=alt.Legend(orient="top", columns=2),
            ),
            tooltip=tips,
        )
    )
    chart = alt.layer(rule_at_zero("x"), rule_at_zero("y"), dots).properties(width=width, height=360)
    both = named.filter(pl.col("on_task") > 0, pl.col("off_task") > 0).height
    return spec(chart, f"{named.height:,} runs: {said.trade(named)}; {both:,} gain on both.")


def quadrants(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """Donor score against recipient score of every language and task, with intervals where they are known.

    The dashed lines are the means of each kind.
    """
    import altair as alt

    kinds = frame["kind"].unique(maintain_order=True).to_list()
    panels = []
    for kind in kinds:
        size = {"width": width if len(kinds) == 1 else 300, "height": 280}
        panels.append(_quadrant(frame.filter(pl.col("kind") == kind)).properties(title=f"{kind}s", **size))
    chart = panels[0] if len(panels) == 1 else alt.hconcat(*panels)
    told = (
        f"{kind}s as donors {said.extremes(part, ['name'], 'donor')}, as recipients "
        f"{said.extremes(part, ['name'], 'recipient')}"
        for (kind,), part in frame.group_by("kind", maintain_order=True)
    )
    return spec(chart, f"Mean Δ, pp: {said.listed(told)}.")


def _quadrant(frame: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    roles, near = ("donor", "recipient"), alt.Scale(zero=False)
    base = alt.Chart(data(frame)).encode(
        x=alt.X("donor:Q", title="donor score, pp", scale=near),
        y=alt.Y("recipient:Q", title="recipient score, pp", scale=near),
        tooltip=["name:N", *(alt.Tooltip(f"{role}{end}:Q", format="+.2f") for role in roles for end in ENDS)],
    )
    bars = base.mark_rule(color="#5b8fc0", strokeWidth=2)
    across = bars.transform_filter("isValid(datum.donor_low)").encode(x="donor_low:Q", x2="donor_high:Q")
    upright = bars.transform_filter("isValid(datum.recipient_low)").encode(y="recipient_low:Q", y2="recipient_high:Q")
    middle = alt.Chart(data(frame.select(pl.col(roles).mean()))).mark_rule(strokeDash=[4, 3], color="#777777")
    words = base.mark_text(align="left", dy=-8, dx=5, fontSize=11).encode(text="name:N")
    dots = base.mark_point(filled=True, size=60, opacity=1)
    means = [middle.encode(x="donor:Q"), middle.encode(y="recipient:Q")]
    return alt.layer(across, upright, *means, dots, words)
