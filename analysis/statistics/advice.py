"""Who helps this target, what will this source harm, what to train next.

Measured cells answer with their mean over models and its interval; cells that were never tried answer with the grid
model's prediction (`predict`) and say so. Beside each source stands what it does elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from analysis.frames import KEYS, SOURCE, TARGET, NotComputable, cell, harm_rate
from analysis.reading.study import Study, load
from analysis.statistics import predict
from analysis.statistics.significance import significance
from study.cells import Cell
from study.errors import ConfigError

DRAWS = 2000


@dataclass(frozen=True)
class Advice:
    """A sentence and the table it speaks of."""

    sentence: str
    table: pl.DataFrame

    def text(self, most: int) -> str:
        """The sentence and the first `most` rows, as Markdown."""
        with pl.Config(
            tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=2,
            tbl_width_chars=160, tbl_formatting="MARKDOWN", fmt_str_lengths=60,
        ):  # fmt: skip
            shown = f"{self.sentence}\n{self.table.head(most)}"
        rest = self.table.height - most
        return f"{shown}\n{rest} more rows; see --top" if rest > 0 else shown


def read(store: str, model: str | None) -> Study:
    """The study to ask, of one model if it is named; ConfigError when there is nothing to ask."""
    study = load(store)
    if not study.transfer.height:
        raise ConfigError("STORE", store, "no adapter with a source cell has been scored", "run the sweep first")
    if model is None:
        return study
    names = study.transfer["model"].unique().sort().to_list()
    if model not in names:
        raise ConfigError("--model", model, "the study has no such model", f"one of {', '.join(names)}")
    panels = tuple(panel for panel in study.panels if panel.model == model)
    return replace(study, transfer=study.transfer.filter(pl.col("model") == model), panels=panels)


def next_to_train(study: Study, budget: int) -> Advice:
    """Which sources to train next, in order; ConfigError when the grid says nothing of them."""
    try:
        table = predict.next_sources(_model(study), budget)
    except NotComputable as why:
        raise ConfigError("--budget", budget, str(why), "score other cells, or none") from why
    return Advice("Train next, in this order (sd of the predicted Δ of what is not measured, pp):", table)


def about_target(study: Study, name: str, max_harm: float | None) -> Advice:
    """Which sources help a target most, and at what risk elsewhere; ConfigError when there is no such target."""
    target = _cell("--target", name, _targets(study))
    known = _known(study)
    table = for_target(known, target, max_harm)
    omitted = known.filter(pl.col("target") == target).height - table.height
    note = f" ({omitted} sources harm more than {max_harm:g} % of other targets)" if omitted else ""
    return Advice(f"Sources for {target}, best expected Δ first, pp{note}:", table)


def about_source(study: Study, name: str) -> Advice:
    """What an adapter of a source will harm and help; ConfigError when there is no such source."""
    known = _known(study)
    source = _cell("--source", name, sorted(set(known["source"])))
    return Advice(f"Targets of {source}, most harmed first, pp:", for_source(known, source))


def _targets(study: Study) -> list[str]:
    return sorted(set(study.transfer.select(cell(*TARGET).alias("target"))["target"]))


def _model(study: Study) -> predict.Model:
    """The model of the grid, in which every target could be a source; NotComputable where it cannot be fitted."""
    untried = [(cell.task, cell.language) for cell in map(Cell.parse, _targets(study))]
    return predict.fit_grid(predict.grid(study.transfer, untried))


def _known(study: Study) -> pl.DataFrame:
    """`answers` for every pair of a study that is measured or can be predicted."""
    try:
        predicted = _model(study).predict()
    except NotComputable:
        predicted = None
    tests = significance(study.panels, study.units, draws=DRAWS) if study.panels else None
    return answers(study.transfer, tests, predicted)


def _cell(option: str, text: str, known: list[str]) -> str:
    try:
        name = str(Cell.parse(text))
    except ValueError as error:
        raise ConfigError(option, text, str(error), "write task/language") from error
    if name not in known:
        raise ConfigError(option, text, "the study knows no such cell", f"one of {', '.join(known)}")
    return name


def answers(transfer: pl.DataFrame, tests: pl.DataFrame | None, predicted: pl.DataFrame | None) -> pl.DataFrame:
    """`source, target, regime, expected, low, high, measured, n_models` for every pair that is known or predicted.

    Interval of a measured pair: mean over models ± 1.96 √(between models/n + mean squared error within/n), the error
    within from the items' bootstrap (`tests`) where it is known, else from seeds; null where neither is.
    """
    rows = transfer.filter(pl.col("delta").is_not_null())
    within = pl.col("delta_se")
    if tests is not None:
        rows = rows.join(tests.select(*KEYS, "low", "high"), on=KEYS, how="left")
        within = pl.coalesce((pl.col("high") - pl.col("low")) / 3.92, within)
    rows = rows.with_columns(within.alias("error"))
    n = pl.len()
    spread = (pl.col("delta").var().fill_null(0.0) + pl.col("error").pow(2).mean()) / n
    table = rows.group_by(*SOURCE, *TARGET, "regime").agg(
        pl.col("delta").mean().alias("expected"), spread.sqrt().alias("sd"), n.cast(pl.Int64).alias("n_models")
    )
    table = table.with_columns(
        (pl.col("expected") - 1.96 * pl.col("sd")).alias("low"),
        (pl.col("expected") + 1.96 * pl.col("sd")).alias("high"),
        pl.lit(True).alias("measured"),
    )
    if predicted is not None:
        unseen = predicted.filter(pl.col("delta").is_null())
        table = pl.concat([table, unseen.with_columns(pl.lit(False).alias("measured"))], how="diagonal_relaxed")
    names = [cell(*SOURCE).alias("source"), cell(*TARGET).alias("target")]
    columns = [*names, "regime", "expected", "low", "high", "measured", "n_models"]
    return table.select(columns).sort("source", "target")


def for_target(known: pl.DataFrame, target: str, max_harm: float | None = None) -> pl.DataFrame:
    """Sources for a target, best first, with `harm_elsewhere` and `mean_elsewhere` beside what is known of the pair.

    harm_elsewhere is the share (%) of the source's other targets with Δ ≤ −1.0 pp; sources above `max_harm` are left
    out.
    """
    here = known.filter(pl.col("target") == target).drop("target", "n_models")
    elsewhere = known.filter(pl.col("target") != target).group_by("source")
    risk = elsewhere.agg(
        harm_rate("expected").alias("harm_elsewhere"),
        pl.col("expected").mean().alias("mean_elsewhere"),
    )
    table = here.join(risk, on="source", how="left").sort("expected", "source", descending=[True, False])
    if max_harm is not None:
        table = table.filter(pl.col("harm_elsewhere").fill_null(0.0) <= max_harm)
    return table


def for_source(known: pl.DataFrame, source: str) -> pl.DataFrame:
    """Targets of a source, most harmed first: `target, regime, expected, low, high, measured, n_models`."""
    return known.filter(pl.col("source") == source).drop("source").sort("expected", "target")
