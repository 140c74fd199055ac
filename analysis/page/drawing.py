"""What the figures are drawn from: the tables behind them, brought into the shape that a chart takes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analysis.frames import ALL_MODELS, SOURCE, TARGET, TRANSFER_REGIMES
from analysis.reading.study import Study
from analysis.statistics.harm import size_bucket
from analysis.statistics.pareto import enough
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


def matrix_rows(drawing: Drawing) -> pl.DataFrame:
    """Rows of the big heat map: the mean over models first (when there are several), then each model.

    `n` is the items of a model's cell, or the models of the mean's; intervals are there where they were computed.
    """
    rows = drawing.study.transfer.filter(pl.col("delta").is_not_null())
    columns = [*SOURCE, *TARGET, "regime", "delta"]
    tests = drawing.made["significance"].frame
    own = rows.select("model", *columns, pl.col("n_items").alias("n"))
    if tests is not None:
        known = tests.select(
            "model", *SOURCE, *TARGET, "low", "high", "q_worse", "q_better", "worse", "gains", "losses"
        )
        own = own.join(known, on=["model", *SOURCE, *TARGET], how="left")
    if rows["model"].n_unique() == 1:
        return own
    mean = drawing.frame.select(pl.lit(ALL_MODELS).alias("model"), *columns, pl.col("n_models").alias("n"))
    return pl.concat([mean, own], how="diagonal").select(own.columns)


def role_rows(drawing: Drawing, kind: str) -> pl.DataFrame:
    """`name, role, delta, low, high`, adjusted for what each met where that can be told; 95 % intervals."""
    sides = []
    for side in ("donor", "recipient"):
        score = f"{side}_adjusted" if drawing.frame[f"{side}_adjusted"].null_count() < drawing.frame.height else side
        ends = [pl.col(score + end).alias(name) for end, name in (("", "delta"), ("_low", "low"), ("_high", "high"))]
        sides.append(drawing.frame.select(pl.col(kind).alias("name"), pl.lit(side).alias("role"), *ends))
    return pl.concat(sides).filter(pl.col("delta").is_not_null())


def share_rows(drawing: Drawing) -> pl.DataFrame:
    """The variance tables under one another, by scope; shares below 0 are drawn as 0, and the rest as 100.

    With and without curated tasks overall; the table has these of each regime, too.
    """
    designs = {
        "noise taken out": "variance_noiseless",
        "crossed": "variance_crossed",
        "nested": "variance_nested",
    }
    there = {name: drawing.made[table].frame for name, table in designs.items()}
    columns = ["scope", "component", "share", "share_se"]
    parts = [table.select(*columns, pl.lit(name).alias("design")) for name, table in there.items() if table is not None]
    order = {name: i for i, name in enumerate(("overall", *TRANSFER_REGIMES))}
    kept = pl.col("scope").is_in(list(order)) | pl.col("scope").str.starts_with("overall")
    drawn = pl.concat(parts).filter(kept).with_columns(pl.col("share").clip(lower_bound=0))
    whole = pl.col("share").sum().over("scope", "design")
    scaled = [(100 * pl.col(name) / whole).alias(name) for name in ("share", "share_se")]
    return drawn.with_columns(scaled).sort(
        pl.col("scope").replace_strict(order, default=len(order)),
        maintain_order=True,
    )


def run_rows(drawing: Drawing) -> pl.DataFrame:
    """The points of `pareto` that rest on enough targets, with the model's family and size."""
    about = drawing.study.transfer.select("model", "model_family", size_bucket()).unique("model")
    kept = drawing.frame.join(enough(drawing.study.transfer), on=["model", *SOURCE], how="semi")
    return kept.join(about, on="model", how="left")


def quadrant_rows(drawing: Drawing) -> pl.DataFrame:
    """`kind, name, donor, recipient` and their intervals, of the languages and tasks that are both.

    Raw scores, as the reference study draws them.
    """
    parts = []
    columns = [f"{role}{end}" for role in ("donor", "recipient") for end in ("", "_low", "_high")]
    for kind in ("language", "task"):
        frame = drawing.made[f"{kind}_roles"].frame
        if frame is not None:
            parts.append(frame.select(pl.lit(kind).alias("kind"), pl.col(kind).alias("name"), *columns))
    return pl.concat(parts).drop_nulls(["donor", "recipient"])


def composed_points(drawing: Drawing) -> pl.DataFrame | None:
    """`model, source, on_task, off_task, harm_rate` of compositions, for the Pareto figure; None without any."""
    frame = drawing.made["compositions"].frame
    if frame is None:
        return None
    rows = frame.filter(pl.col("metric") == "accuracy")
    at = pl.when(pl.col("protocol").is_null() & pl.col("lambda").is_not_null()).then(pl.format(" λ {}", "lambda"))
    rows = rows.with_columns((pl.col("name") + at.otherwise(pl.lit(""))).alias("source"))
    off = pl.col("regime").is_in(["CT-ML", "CT-CL"])
    points = rows.group_by("model", "source").agg(
        pl.col("delta").filter(pl.col("regime") == "MT-CL").mean().alias("on_task"),
        pl.col("delta").filter(off).mean().alias("off_task"),
        (100 * pl.col("harmed").filter(off).mean()).alias("harm_rate"),
    )
    return points.drop_nulls(["on_task", "off_task"]).sort("model", "source")
