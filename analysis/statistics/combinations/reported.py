"""What is reported of compositions: on each target the one lambda that the config fixes, or that its protocol chose.

A composition has the place of a source here: its name that of the task, and its lambda, or the protocol that chose it,
that of the language. Seeds are replicates, as a source's are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from analysis.frames import HARM_PP, TARGET, need
from analysis.reading.compositions import Compositions
from analysis.reading.grids import ModelGrid, Unit
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.transfer import cells_learned
from analysis.statistics.combinations.strengths import choices
from analysis.statistics.graded import Scale, scales
from study.cells import Cell, Regime, regime_of
from study.choosing import cells_of

NONE = "the study puts no adapters together"
NAMED = ["adapter_id", "model", "name", "method", "strength", "protocol", "language", "terms"]
SEARCHED = "(searched)"  # ends the method of what a few examples of a target chose the weights of
FEW_SHOT = "target"
CLAIMS = {"source": "zero-shot", "other_languages": "zero-shot", FEW_SHOT: "few-shot"}


def composed_of(study: Study) -> Compositions:
    """The compositions of a study; NotComputable where there are none."""
    need(study.compositions is not None, NONE)
    assert study.compositions is not None
    return study.compositions


def all_scales(study: Study) -> list[Scale]:
    """Accuracies, and every metric that items are graded by."""
    return [*([Scale("accuracy", "pp", study.panels, Unit())] if study.panels else []), *scales(study)]


def every_unit(study: Study) -> pl.DataFrame:
    """Units of composed adapters under each of their names, of every lambda."""
    units = study.units.filter(pl.col("kind") == "composed")
    return units.join(composed_of(study).named.select(NAMED), on=["adapter_id", "model"], how="inner")


def reported(study: Study) -> pl.DataFrame:
    """Those of them that are reported, with the names that they go by in the place of a source's."""
    units = every_unit(study)
    free = pl.col("protocol").is_not_null()
    chosen = units.filter(free).join(_chosen(study), on=[*_FREE, "strength"], how="semi")
    return _called(pl.concat([units.filter(~free), chosen]), "protocol")


def of_every_lambda(study: Study) -> pl.DataFrame:
    """Those whose protocol chooses no lambda for their target, as none is chosen on raw text: by the lambda of each."""
    free = every_unit(study).filter(pl.col("protocol").is_not_null())
    return _called(free.join(_chosen(study), on=_FREE, how="anti"))


_FREE = ["model", "name", *TARGET]


def _chosen(study: Study) -> pl.DataFrame:
    return choices(study).filter("chosen").select(*_FREE, "strength")


def _called(units: pl.DataFrame, *first: str) -> pl.DataFrame:
    label = pl.coalesce(*first, pl.col("strength").cast(pl.String), pl.lit(""))
    return units.with_columns(pl.col("name").alias("source_task"), label.alias("source_language"))


def claim() -> pl.Expr:
    """What a reported composition is: few-shot where a target's own items chose its lambda or its weights."""
    by_protocol = pl.col("protocol").replace_strict(CLAIMS, default=None, return_dtype=pl.String)
    searched = pl.col("method").str.ends_with(SEARCHED)
    return pl.when(searched).then(pl.lit("few-shot")).otherwise(by_protocol).alias("claim")


def within(units: pl.DataFrame, panels: tuple[Panel, ...]) -> pl.DataFrame:
    """The units that have items of these targets."""
    return units.filter(pl.col("unit").is_in([unit for panel in panels for unit in panel.scored.tolist()]))


def beside_sources(study: Study, rows: pl.DataFrame) -> pl.DataFrame:
    """Units of the bases, of sources, of adapters that were trained elsewhere, and `rows`, all as sources."""
    elsewhere = study.units.filter(pl.col("kind") == "existing").with_columns(
        pl.col("adapter_id").alias("source_task"), pl.lit("").alias("source_language")
    )
    known = study.units.filter(pl.col("kind").is_in(["base", "trained"]))
    together = pl.concat([known, elsewhere, rows.select(study.units.columns)])
    return together.with_columns(
        pl.when(pl.col("kind") != "base").then(pl.lit("trained")).otherwise("kind").alias("kind")
    )


def unit_deltas(scale: Scale) -> pl.DataFrame:
    """`unit, delta` of every unit on the targets of a scale, in its unit, on the items that it shares with the base."""
    rows = []
    for panel in scale.panels:
        difference = panel.norm - panel.norm[0]
        known = (~np.isnan(difference)).sum(axis=1)
        delta = scale.measure.size * np.nan_to_num(difference).sum(axis=1, dtype=np.float64) / np.maximum(known, 1)
        rows += list(zip(panel.units[known > 0].tolist(), delta[known > 0].tolist(), strict=True))
    return pl.DataFrame(rows, schema={"unit": pl.Int64, "delta": pl.Float64}, orient="row")


def told_cells(one: ModelGrid, scale: Scale) -> pl.DataFrame:
    """What is said of every cell of a model, compositions and sources alike."""
    there, frame = one.there, one.frame().drop("row", "column")
    harm = frame["target_task"].replace_strict(dict(scale.measure.harm), default=HARM_PP, return_dtype=pl.Float64)
    table = frame.with_columns(
        pl.Series("delta", one.grid.delta[there]).round(9),
        pl.Series("low", one.cells.low[there]),
        pl.Series("high", one.cells.high[there]),
        pl.Series("n_items", one.grid.n_items[there]),
        pl.Series("n_seeds", one.grid.n_seeds[there]),
        pl.lit(one.about).alias("about"),
    )
    return table.with_columns((pl.col("delta") <= harm).alias("harmed"))


def stages(study: Study) -> dict[str, tuple[Cell, ...]]:
    """Of every stage, by its adapter_id, the cells that it learned from, with those before it."""
    return {record.adapter_id: cells_learned(record) for record in study.records if record.stage}


def relation(terms: Sequence[Mapping[str, object]], target: Cell, staged: Mapping[str, Sequence[Cell]]) -> Regime:
    """How a target relates to the parts of a composition together, to those that are `stages` with what was before."""
    before = [cell for term in terms for cell in staged.get(str(term["subject_id"]), ())]
    return regime_of([*cells_of(terms), *before], target)
