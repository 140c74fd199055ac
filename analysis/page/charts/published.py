"""The reference study's two headline figures, as it draws them."""

from __future__ import annotations

import polars as pl

from analysis.page.charts.style import Spec, data, rule_at_zero, spec


def runs(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """A point per run (model and source): gain on the own task against effect elsewhere, by family and size."""
    import altair as alt

    named = frame.with_columns(pl.concat_str("source_task", "source_language", separator="/").alias("source"))
    tips = ["model:N", "source:N", *(alt.Tooltip(f"{side}:Q", format="+.2f") for side in ("on_task", "off_task"))]
    dots = (
        alt.Chart(data(named))
        .mark_point(filled=True, opacity=0.7)
        .encode(
            x=alt.X("on_task:Q", title="same task, other languages: mean Δ, pp"),
            y=alt.Y("off_task:Q", title="other tasks: mean Δ, pp"),
            shape=alt.Shape("model_family:N", title="family", legend=alt.Legend(orient="top", columns=3)),
            size=alt.Size("size:O", title="size", sort=["S", "M", "L"], legend=alt.Legend(orient="top")),
            color=alt.Color("source_task:N", title="trained on", legend=alt.Legend(orient="top", columns=2)),
            tooltip=tips,
        )
    )
    chart = alt.layer(rule_at_zero("x"), rule_at_zero("y"), dots).properties(width=width, height=360)
    return spec(chart, "Gain on the own task against effect on other tasks, a point per model and source.")


def quadrants(frame: pl.DataFrame, width: int | str = "container") -> Spec:
    """Donor score against recipient score of every language and task; the lines are the means of each kind."""
    import altair as alt

    kinds = frame["kind"].unique(maintain_order=True).to_list() or ["language"]
    panels = []
    for kind in kinds:
        part = frame.filter(pl.col("kind") == kind)
        axes = {"x": ("donor", "donor score, pp"), "y": ("recipient", "recipient score, pp")}
        base = alt.Chart(data(part)).encode(
            x=alt.X("donor:Q", title=axes["x"][1], scale=alt.Scale(zero=False)),
            y=alt.Y("recipient:Q", title=axes["y"][1], scale=alt.Scale(zero=False)),
            tooltip=["name:N", *(alt.Tooltip(f"{role}:Q", format="+.2f") for role in ("donor", "recipient"))],
        )
        middle = alt.Chart(data(part.select(pl.col("donor", "recipient").mean())))
        lines = [
            middle.mark_rule(strokeDash=[4, 3], color="#777777").encode(x="donor:Q"),
            middle.mark_rule(strokeDash=[4, 3], color="#777777").encode(y="recipient:Q"),
        ]
        words = base.mark_text(dy=-9, fontSize=11).encode(text="name:N")
        size = {"width": width if len(kinds) == 1 else 300, "height": 280}
        panels.append(
            alt.layer(*lines, base.mark_point(filled=True, size=60), words).properties(title=f"{kind}s", **size)
        )
    chart = panels[0] if len(panels) == 1 else alt.hconcat(*panels)
    return spec(chart, "Donor score against recipient score of languages and tasks.")
