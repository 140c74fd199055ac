"""Is it better to combine? Every composition on every target, beside its parts and beside the best single donor.

A row is a composition on a target, at the lambda that is fixed or that its protocol chose on held-out items
(`strengths`). Its Δ and interval are made as those of a source (`analysis/inference/cells.py`). The best of its parts,
and of all single sources but the target's own cell, is found on other items and seeds than it is measured on (`gains`):
the best of many on the same items would flatter the single. q-values (Benjamini and Hochberg 1995) are over the rows of
a model and metric, targets that a part was trained on (MT-ML) apart: of those called better than the best single donor
one in twenty at most is expected to be so wrongly.

Harm avoided is how many targets the best part harms, less how many the composition does, of those both were scored on.
It counts what is printed, most of which noise may have made in either.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analysis.frames import MODEL_WORDS, SOURCE, TARGET, TARGET_WORDS, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.reading.grids import model_grids
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.combinations.gains import Others, Seeds, gains
from analysis.statistics.combinations.reported import (
    all_scales,
    beside_sources,
    claim,
    composed_of,
    relation,
    reported,
    stages,
    told_cells,
    within,
)
from analysis.statistics.graded import Scale
from study.cells import Cell

ROW = ["model", *SOURCE, *TARGET]
GAIN = ("gain", "low", "high")


def compositions(study: Study) -> pl.DataFrame:
    """One row per composition and target; NotComputable where nothing was put together, or nothing of it was scored."""
    found = composed_of(study)
    rows = reported(study)
    need(rows.height > 0, "no composition has been scored, or none has scores on items to choose its lambda by")
    tables, harms = [], []
    for scale in all_scales(study):
        mine = within(rows, scale.panels)
        if mine.height:
            made = model_grids(scale.panels, beside_sources(study, mine), scale.measure)
            told = pl.concat([told_cells(one, scale) for one in made])
            harms.append(told.select(*ROW, "harmed"))
            tables.append(_scale(study, scale, mine, told).join(_ceilings(told), on=["model", *TARGET], how="left"))
    need(bool(tables), "no composition has been scored on a target that its base was scored on")
    table = pl.concat(tables)
    table = table.join(
        _harmed(table, pl.concat(harms), _places(study, rows)), on=ROW, how="left", maintain_order="left"
    )
    records = [(one.adapter_id, one.rank, one.truncation) for one in found.records.values()]
    kinds = {"adapter_id": pl.String, "rank": pl.Int64, "truncation": pl.Float64}
    made_of = table.select(*ROW, "adapters").explode("adapters").rename({"adapters": "adapter_id"})
    written = made_of.join(pl.DataFrame(records, schema=kinds, orient="row"), on="adapter_id")
    written = written.group_by(ROW).agg(pl.col("rank").max(), pl.col("truncation").mean())
    table = table.join(written, on=ROW, how="left", maintain_order="left")
    return table.rename({"strength": "lambda"}).select(*COLUMNS).sort("model", "name", "lambda", "metric", *TARGET)


def _scale(study: Study, scale: Scale, rows: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Rows of one metric, with what they gain."""
    first = ("name", "method", "strength", "protocol", "terms")
    about = rows.group_by(ROW, maintain_order=True).agg(pl.first(*first), pl.col("adapter_id").alias("adapters"))
    table = about.join(told, on=ROW, how="inner", maintain_order="left")
    for what, others in (("part", _parts(study)), ("donor", _donors(study))):
        names = {"gain": f"gain_{what}", **{end: f"gain_{what}_{end}" for end in ("low", "high")}}
        kept = [] if what == "part" else ["p_better", "p_worse"]
        found = gains(scale, rows, others).rename(names)
        found = found.select(*ROW, *names.values(), pl.col("best").alias(f"best_{what}"), *kept)
        table = table.join(found, on=ROW, how="left", maintain_order="left")
    staged = stages(study)
    relations = [
        relation(terms, Cell(*target), staged) for terms, *target in table.select("terms", *TARGET).iter_rows()
    ]
    table = table.with_columns(pl.Series("regime", relations, pl.String))
    family = ["model", pl.col("regime") == "MT-ML"]
    table = table.with_columns(_q(f"p_{side}").over(family).alias(f"q_{side}") for side in ("better", "worse"))
    return table.with_columns(
        *((pl.col("delta") - pl.col(f"gain_{what}")).alias(f"delta_{what}") for what in ("part", "donor")),
        *((pl.col(f"q_{side}") <= LEVEL).alias(side) for side in ("better", "worse")),
        claim(),
        pl.lit(scale.metric).alias("metric"),
        pl.lit(scale.unit).alias("unit"),
    )


def _ceilings(told: pl.DataFrame) -> pl.DataFrame:
    """`model, target…, delta_ceiling`: Δ of the source that learned the target's own cell, where there is one."""
    own = told.filter(pl.all_horizontal(pl.col(end) == pl.col(at) for end, at in zip(SOURCE, TARGET, strict=True)))
    return own.select("model", *TARGET, pl.col("delta").alias("delta_ceiling"))


def _q(column: str) -> pl.Expr:
    return pl.col(column).map_batches(
        lambda p: pl.Series(q_values(p.fill_null(float("nan")).to_numpy())).fill_nan(None), return_dtype=pl.Float64
    )


def _parts(study: Study) -> Others:
    """The units of a composition's parts on a target, seed by seed."""
    placed = dict(zip(study.units.select("adapter_id", *TARGET).iter_rows(), study.units["unit"], strict=True))

    def of(panel: Panel, group: pl.DataFrame) -> Mapping[str, Seeds]:
        found: dict[str, dict[int | None, int]] = {}
        for seed, terms in group.select("seed", "terms").iter_rows():
            for term in terms:
                unit = placed.get((term["subject_id"], panel.task, panel.language))
                if unit is not None:
                    found.setdefault(term["source"], {})[seed] = unit
        return found

    return of


def _donors(study: Study) -> Others:
    """The units of all single sources on a target but the target's own."""
    found: dict[tuple[str, str, str], dict[str, dict[int | None, int]]] = {}
    columns = ["model", *TARGET, *SOURCE, "seed", "unit"]
    for model, task, language, *source, seed, unit in study.single_units.select(columns).iter_rows():
        if source != [task, language]:
            found.setdefault((model, task, language), {}).setdefault("/".join(source), {})[seed] = unit
    return lambda panel, _: found.get((panel.model, panel.task, panel.language), {})


def _places(study: Study, rows: pl.DataFrame) -> pl.DataFrame:
    """`model, part, source…`: where in tables of sources a part is that compositions call so, whatever kind it is."""
    terms = rows.select(pl.col("terms").explode()).unnest("terms").select("subject_id", pl.col("source").alias("part"))
    known = beside_sources(study, rows.clear()).filter(pl.col("kind") == "trained")
    found = terms.unique().join(known, left_on="subject_id", right_on="adapter_id", how="inner")
    return found.select("model", "part", *SOURCE).unique()


def _harmed(table: pl.DataFrame, harms: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """`ROW, harmed_targets, harm_avoided`: counts over the targets of a composition, of all metrics."""
    whose = ["model", *SOURCE]
    mine = table.select(*ROW, "harmed")
    total = mine.group_by(whose).agg(pl.col("harmed").sum().cast(pl.Int64).alias("harmed_targets"))
    parts = harms.join(places, on=["model", *SOURCE])
    beside = mine.join(parts.select("model", "part", *TARGET, pl.col("harmed").alias("by_part")), on=["model", *TARGET])
    avoided = beside.group_by(*whose, "part").agg(
        (pl.col("by_part").sum().cast(pl.Int64) - pl.col("harmed").sum().cast(pl.Int64)).alias("harm_avoided")
    )
    rows = table.select(*ROW, pl.col("best_part").alias("part")).join(total, on=whose, how="left")
    return rows.join(avoided, on=[*whose, "part"], how="left").select(*ROW, "harmed_targets", "harm_avoided")


COLUMNS = {
    **MODEL_WORDS,
    "name": "name of the composition, with what it was expanded for in brackets",
    "method": "how it is put together",
    "lambda": "λ: the fixed one, or the one that was chosen for the target; null where no weight names it",
    "protocol": "on what λ was chosen: source, other_languages or target; null where it is fixed",
    "claim": "what that makes of it: zero-shot, or few-shot where a target's own items chose λ or weights; null: fixed",
    "rank": "largest rank of what was written",
    "truncation": "what its writing leaves out of ΔW, relative error (mean over seeds)",
    **TARGET_WORDS,
    "regime": "of the target to the cells of all parts together: MT-ML, MT-CL, CT-ML or CT-CL",
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ and gains: pp, points (100 × a proportion), or the metric itself",
    "delta": "Δ against the base, mean over seeds",
    "low": "lower end of its 95 % interval over items and seeds",
    "high": "upper end",
    "best_part": "its part with the highest score on the target; null where no part was scored there",
    "delta_part": "Δ of the best part, found on other items and seeds than it is measured on",
    "gain_part": "Δ less that",
    "gain_part_low": "lower end of its 95 % interval",
    "gain_part_high": "upper end",
    "best_donor": "the single source, not the target's own cell, with the highest score on the target",
    "delta_donor": "Δ of the best single donor, found on other items and seeds than it is measured on",
    "gain_donor": "Δ less that",
    "gain_donor_low": "lower end of its 95 % interval",
    "gain_donor_high": "upper end",
    "delta_ceiling": "Δ of the source that learned the target's own cell (the supervised ceiling); null without one",
    "q_better": "q-value of: it gains nothing over the best single donor; over the model's rows of the metric (MT-ML "
    "is a family of its own)",
    "better": f"q_better ≤ {LEVEL}",
    "q_worse": "q-value of: it loses nothing against the best single donor",
    "worse": f"q_worse ≤ {LEVEL}",
    "harmed": "whether it shows a loss that counts as harm on the target",
    "harmed_targets": "targets, of all metrics, on which it does, of those that have a row here: those for which no λ "
    "was chosen have none",
    "harm_avoided": "targets that its best part harms less those that it harms, of those that both were scored on",
    "about": "what is claimed: of the composition over seeds, or of this adapter where there is one seed",
    "n_items": "items that adapter and base share under some seed",
    "n_seeds": "seeds",
}
TABLES = (
    Table[Study](
        "compositions",
        "Compositions beside their parts and the best single donor",
        "items of compositions, their parts and single sources",
        COLUMNS,
        compositions,
        how="What several adapters put together do, target by target, beside the best of their parts and the best "
        "single donor. Both are found on other items than they are measured on, so no luck is in the comparison; the "
        "one found need not be the best in truth, and over that one a gain would be less (in simulations with donors "
        "that differ by three points 1.2 to 1.4 points less). Where "
        "λ was chosen, it was so on items that no score here is of; few-shot marks what the target's own chose.",
    ),
)
