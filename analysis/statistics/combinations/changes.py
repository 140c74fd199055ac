"""Data or adapter? Sources whose data were changed, beside the same cells as they are and beside the best combination.

A row is such a source on a target of its tasks: with some examples of another language, words switched, or a
translation in place of the original. What it gains over the source of the same cells unchanged is what the data bring.
What it gains over the best combination that knows no more of the target says whether data or adapters bring more; that
best one is found on other items and seeds than it is measured on (`gains`). Combinations with a part that was trained
on the target's own cell are left out: they had its data, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from analysis.frames import MODEL_WORDS, SOURCE, TARGET, TARGET_WORDS, Table, need
from analysis.reading.grids import model_grids
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.transfer import learned_from
from analysis.statistics.combinations.gains import Others, Seeds, gains
from analysis.statistics.combinations.reported import all_scales, relation, reported, stages, told_cells, within
from analysis.statistics.graded import Scale
from study.cells import Cell, Source

ROW = ["model", *SOURCE, *TARGET]
SIDES = {"unchanged": "the source of the same cells as they are", "adapter": "the best combination"}


@dataclass(frozen=True)
class Changed:
    """A source whose data were changed: how, and the source of its own cells as they are."""

    change: str
    unchanged: tuple[str, str]
    tasks: frozenset[str]
    shots: frozenset[Cell]


def changes(study: Study) -> pl.DataFrame:
    """A row per changed source, target of its tasks, and metric; NotComputable where there is none."""
    known = _known(study)
    need(bool(known), "no source has other data than its cells' own")
    trained = study.units.filter(pl.col("kind") == "trained")
    told = pl.struct(*SOURCE, "target_task").map_elements(
        lambda one: one["target_task"] in known[one["source_task"], one["source_language"]].tasks,
        return_dtype=pl.Boolean,
    )
    names = pl.DataFrame([*known], schema=dict.fromkeys(SOURCE, pl.String), orient="row")
    rows = trained.join(names, on=SOURCE, how="semi").filter(told)
    tables = [
        _scale(study, scale, some, known) for scale in all_scales(study) if (some := within(rows, scale.panels)).height
    ]
    need(bool(tables), "no such source was scored on a target of its tasks that its base was scored on")
    return pl.concat(tables).select(*COLUMNS).sort(*ROW, "metric")


def _known(study: Study) -> dict[tuple[str, str], Changed]:
    """By its names in results every source that was changed."""
    found = {}
    for record in study.records:
        if record.stage is not None and record.stage.change is not None:
            source = learned_from(record)
            shots = frozenset(cell for cell, _ in source.change.shots) if source.change else frozenset()
            own = Source(source.own)
            tasks = frozenset(cell.task for cell in source.cells)
            found[source.task, source.language] = Changed(record.stage.change, (own.task, own.language), tasks, shots)
    return found


def _scale(study: Study, scale: Scale, rows: pl.DataFrame, known: Mapping[tuple[str, str], Changed]) -> pl.DataFrame:
    made = model_grids(scale.panels, study.units, scale.measure, study.joint)
    told = pl.concat([told_cells(one, scale) for one in made])
    table = rows.select(ROW).unique(maintain_order=True).join(told, on=ROW, how="inner", maintain_order="left")
    for what, others in (("unchanged", _unchanged(study, known)), ("adapter", _adapters(study))):
        found = gains(scale, rows, others).select(
            *ROW, *(pl.col(one).alias(f"gain_{what}{end}") for one, end in _ENDS.items()), pl.col("best").alias(what)
        )
        table = table.join(found, on=ROW, how="left", maintain_order="left")
    own = told.filter(pl.all_horizontal(pl.col(end) == pl.col(at) for end, at in zip(SOURCE, TARGET, strict=True)))
    table = table.join(
        own.select("model", *TARGET, pl.col("delta").alias("delta_ceiling")), on=["model", *TARGET], how="left"
    )
    about = [known[row] for row in table.select(SOURCE).iter_rows()]
    saw = [Cell(*target) in one.shots for one, target in zip(about, table.select(TARGET).iter_rows(), strict=True)]
    return table.with_columns(
        pl.Series("change", [one.change for one in about], pl.String),
        pl.Series("few_shot", saw, pl.Boolean),
        *((pl.col("delta") - pl.col(f"gain_{what}")).alias(f"delta_{what}") for what in SIDES),
        pl.lit(scale.metric).alias("metric"),
        pl.lit(scale.unit).alias("unit"),
    )


_ENDS = {"gain": "", "low": "_low", "high": "_high"}


def _unchanged(study: Study, known: Mapping[tuple[str, str], Changed]) -> Others:
    placed: dict[tuple[str, str, str, str, str], dict[int | None, int]] = {}
    trained = study.units.filter(pl.col("kind") == "trained")
    for *at, seed, unit in trained.select("model", *SOURCE, *TARGET, "seed", "unit").iter_rows():
        placed.setdefault(tuple(at), {})[seed] = unit

    def of(panel: Panel, group: pl.DataFrame) -> Mapping[str, Seeds]:
        task, language = group.select(SOURCE).row(0)
        own = known[task, language].unchanged
        seeds = placed.get((panel.model, *own, panel.task, panel.language))
        return {"/".join(own): seeds} if seeds else {}

    return of


def _adapters(study: Study) -> Others:
    """The units of all reported combinations on a target but those that a part of which was trained on its cell."""
    found: dict[tuple[str, str, str], dict[str, dict[int | None, int]]] = {}
    if study.compositions is not None:
        staged = stages(study)
        for model, task, language, name, terms, seed, unit in (
            reported(study).select("model", *TARGET, "name", "terms", "seed", "unit").iter_rows()
        ):
            if relation(terms, Cell(task, language), staged) != "MT-ML":
                found.setdefault((model, task, language), {}).setdefault(name, {})[seed] = unit
    return lambda panel, _: found.get((panel.model, panel.task, panel.language), {})


COLUMNS = {
    **MODEL_WORDS,
    "source_task": "task of the source, with its name behind an @",
    "source_language": "its languages, those of examples beside among them",
    "change": "how its data are others than its cells' own",
    **TARGET_WORDS,
    "few_shot": "whether some of the target's own training examples are among its",
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ",
    "delta": "Δ, mean over seeds",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "n_seeds": "seeds averaged",
    **{
        f"{column}{what}{end}": text.format(words)
        for what, words in SIDES.items()
        for column, end, text in (
            ("", "", "{}; null where the study has none on this target"),
            ("delta_", "", "Δ of {} there"),
            ("gain_", "", "how much more the changed source has than {}"),
            ("gain_", "_low", "lower end of its 95 % interval, beside {}"),
            ("gain_", "_high", "upper end, beside {}"),
        )
    },
    "delta_ceiling": "Δ of the source that learned the target's own cell; null where there is none",
}
TABLES = (
    Table[Study](
        "data_or_adapter",
        "Data or adapter?",
        "sources whose data were changed, on every target of their tasks",
        COLUMNS,
        changes,
        how="A source with some examples of another language, with words switched, or of a translation, beside the "
        "same cells as they are, which tells what the data bring, and beside the best combination of adapters, which "
        "tells whether data or adapters bring more. The best combination is found on other items than it is measured "
        "on, and none counts of which a part was trained on the target's own cell. Each interval is of its row alone.",
    ),
)
