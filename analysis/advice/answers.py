"""Who helps this target, what will this source harm, what to train next.

Every answer is by one metric, in its own unit: that of the target that is asked about (`metric`). Measured cells answer
with what to expect of them (`expected`), cells that were never tried with the grid model's prediction (`predict`), and
say so. Beside each source stands what it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.advice import combined, predict
from analysis.advice.advice import Advice
from analysis.advice.drawn import about_drawn, drawn
from analysis.advice.expected import LEAST, expectations
from analysis.advice.metric import Metric, metrics_of
from analysis.frames import NotComputable
from analysis.reading.recipes import one_of
from analysis.reading.study import Study
from analysis.statistics.health import lowest
from analysis.statistics.languages.distances import Distances
from study.cells import Cell
from study.errors import ConfigError
from study.options import closest_first

LEAST_GAIN = 0.01  # of the error, from which more distances are worth it
SEEN = "how much effects vary was learned with it among the sources, so a new one may err by more"
ONE_SEED = "whose luck is not taken out (intervals hold nine of ten where languages ask nearly the same items)"
# items of a target, or groups of them, below which the first is biased by more than half a point (docs/calibration.md)
FEW = 50


def chosen(whole: Study, model: str | None, recipe: str | None = None) -> Study:
    """The study to ask, of one model if it is named; ConfigError when there is nothing to ask."""
    study = one_of(whole, recipe)
    every = metrics_of(study)
    if not every and not drawn(study).height:
        problem = "no adapter with a source cell has been scored on a target beside its base"
        raise ConfigError("STORE", whole.origin, problem, "run the sweep first")
    if model is None:
        return study
    names = sorted({name for one in every for name in one.transfer["model"]} or set(drawn(study)["model"]))
    if model not in names:
        raise ConfigError("--model", model, "the study has no such model", f"one of {', '.join(names)}")
    panels, graded = (tuple(one for one in some if one.model == model) for some in (study.panels, study.graded))
    units = study.units.filter(pl.col("model") == model) if study.units.height else study.units
    mine = study.transfer.filter(pl.col("model") == model)
    return replace(study, transfer=mine, panels=panels, graded=graded, units=units)


def next_to_train(study: Study, budget: int) -> Advice:
    """Which sources to train next, in order; ConfigError when the grid says nothing of them."""
    try:
        mine = next(iter(metrics_of(study)), None)
        if mine is None:
            raise NotComputable("no target's metric has a value for each item, by which others could be predicted")
        model, note = _model(mine)
        table = predict.next_sources(model, budget)
    except NotComputable as why:
        raise ConfigError("--budget", budget, str(why), "score other cells, or none") from why
    said = f"Train next, in this order (sd of the predicted Δ of what is not measured, {mine.words}){note}:"
    return Advice(said, table)


def about_target(study: Study, name: str, max_harm: float | None) -> Advice:
    """Which sources help a target most, by its own metric, and at what risk elsewhere; ConfigError for no such target.

    The risk is over targets of every metric, each with its own loss that counts.
    """
    every = metrics_of(study)
    together = drawn(study)
    known_targets = {one for metric in every for one in metric.targets} | set(together["target"])
    target = _cell("--target", name, sorted(known_targets))
    if not any(target in metric.targets for metric in every):
        return about_drawn(together, target)
    mine = next(metric for metric in every if target in metric.targets)
    known, predicted = _known(mine)
    others = [_known(metric)[0] for metric in every if metric is not mine]
    table = for_target(known, target, max_harm, others)
    omitted = known.filter(pl.col("target") == target).height - table.height
    note = f" (left out: {omitted} that one must expect to harm over {max_harm:g} % of others)" if omitted else ""
    luck = "; the base is at chance or at 0 there, so a loss is luck" if target in _lowest(mine) else ""
    said = f"Sources for {target}, best expected Δ first, {mine.words}{note}{luck}{_caution(known, mine)}{predicted}:"
    return Advice(said, table, combined.beside(study, target, table, mine))


def about_source(study: Study, name: str) -> Advice:
    """What an adapter of a source will harm and help, metric by metric; ConfigError when there is no such source."""
    every = [(metric, *_known(metric)) for metric in metrics_of(study)]
    source = _cell("--source", name, sorted({one for _, known, _ in every for one in known["source"]}))
    first, *rest = (_of_source(*one, source) for one in every if source in one[1]["source"])
    return replace(first, beside=tuple(rest))


def _of_source(metric: Metric, known: pl.DataFrame, predicted: str, source: str) -> Advice:
    table, luck = for_source(known, source), _lowest(metric)
    if luck:  # the base is at chance or at 0 there
        table = table.with_columns((~pl.col("target").is_in(sorted(luck))).alias("can_be_harmed"))
    said = f"Targets of {source}, lowest expected Δ first, {metric.words}{_caution(known, metric)}{predicted}:"
    return Advice(said, table)


def _caution(known: pl.DataFrame, metric: Metric) -> str:
    """What `expected` lacks where nothing tells how noisy Δ is, or how much seeds add, or where items are few."""
    seen = known.filter("measured")
    if seen["sd"].null_count():
        ends = min(seen[end].n_unique() for end in ("source", "target"))
        if metric.grids and ends < LEAST:
            return f"; fewer than {LEAST} sources or targets are too few to learn how far luck flatters the first"
        if metric.grids:
            return "; every Δ is the same, none comes first"
        return "; their noise is not known, so the first is flattered by its luck"
    said = f"; of adapters of one seed each, {ONE_SEED}" if metric.transfer["n_seeds"].max() == 1 else ""
    asked = [n for one in metric.grids for n in one.grid.n_apart[one.there].tolist()]
    few = float(np.median(asked)) if asked else FEW
    if few < FEW:
        said += f"; with {few:.0f} items a target what is expected of the first may be a point off on average"
        said += ", intervals hold nine of ten, and harm_elsewhere is anything from 3 to 80 % where nothing is harmed "
        said += "(harm_shown is what is certain)"
    return said


def _model(metric: Metric) -> tuple[predict.Model, str]:
    """The model of the grid, in which every target could be a source; NotComputable where it cannot be fitted.

    Where there is something to predict, all distances of languages are in it if leaving sources out errs less so; the
    words say which.
    """
    grid = _grid(metric)
    plain = predict.fit_grid(grid)
    if metric.apart is None or _is_measured(grid) or predict.measured_sources(grid) < 2:
        return plain, ""
    wide = predict.fit_grid(_grid(metric, metric.apart))
    without, with_them = (predict.left_out_error(one) for one in (plain, wide))
    is_better = with_them < (1 - LEAST_GAIN) * without
    errors = f"predictions of a source that is left out err by {with_them:.3g} with all distances of languages"
    used = f"and by {without:.3g} with those of types alone, {'all' if is_better else 'these'} are used"
    return (wide if is_better else plain), f"; {errors} {used} ({SEEN})"


def _grid(metric: Metric, apart: Distances | None = None) -> predict.Grid:
    untried = [(cell.task, cell.language) for cell in map(Cell.parse, metric.targets)]
    return predict.grid(metric.transfer, untried, joint=metric.joint, apart=apart)


def _is_measured(grid: predict.Grid) -> bool:
    """Whether every pair is, so that there is nothing to predict."""
    return not grid.pairs["delta"].null_count()


def _known(metric: Metric) -> tuple[pl.DataFrame, str]:
    """`expectations` for every pair of a study that is measured or can be predicted, by one metric, and how well.

    Without a chance of harm on targets that cannot be harmed.
    """
    predicted, note = None, ""
    with suppress(NotComputable):
        if not _is_measured(_grid(metric)):  # the model's fit takes most of the time
            model, note = _model(metric)
            predicted = model.predict()
    known = expectations(metric.transfer, metric.grids, predicted, metric.harm)
    harmable = ~pl.col("target").is_in(sorted(_lowest(metric)))
    return known.with_columns(pl.when(harmable).then(name).alias(name) for name in ("harm", "shown")), note


def _lowest(metric: Metric) -> set[str]:
    """Targets that cannot be harmed, for every model is at chance there, or at 0."""
    known = {(panel.model, panel.task, panel.language) for panel in metric.panels}
    harmable = known - set(lowest(metric.panels).iter_rows())
    return {f"{task}/{name}" for _, task, name in known} - {f"{task}/{name}" for _, task, name in harmable}


def _cell(option: str, text: str, known: list[str]) -> str:
    try:
        name = str(Cell.parse(text))
    except ValueError as error:
        raise ConfigError(option, text, str(error), "write task/language") from error
    if name not in known:
        raise ConfigError(
            option, text, "is no cell of the study that transfer is told of", f"one of {closest_first(text, known)}"
        )
    return name


def for_target(
    known: pl.DataFrame, target: str, max_harm: float | None = None, others: Sequence[pl.DataFrame] = ()
) -> pl.DataFrame:
    """Sources for a target, best first, with what they do elsewhere beside what is known of the pair.

    harm_elsewhere is the share (%) of the source's other targets, those of `others` too, that one must expect to be
    harmed, noise allowed for, of those that can be; sources above `max_harm` are left out. harm_shown is the share of
    which that is certain: where nothing is harmed a chance cannot be 0, and this is. No mean mixes metrics.
    """
    here = known.filter(pl.col("target") == target).drop("target", "n_models", "sd", "harm", "shown")
    elsewhere = known.filter(pl.col("target") != target)
    risk = pl.concat([elsewhere, *others]).group_by("source")
    shares = (
        (pl.col(one).mean() * 100).alias(f"harm_{name}") for one, name in (("harm", "elsewhere"), ("shown", "shown"))
    )
    table = here.join(risk.agg(shares), on="source", how="left")
    means = elsewhere.group_by("source").agg(pl.col("expected").mean().alias("mean_elsewhere"))
    table = table.join(means, on="source", how="left").sort("expected", "source", descending=[True, False])
    if max_harm is not None:
        table = table.filter(pl.col("harm_elsewhere").fill_null(0.0) <= max_harm)
    return table


def for_source(known: pl.DataFrame, source: str) -> pl.DataFrame:
    """Targets of a source, those that lose most first."""
    return known.filter(pl.col("source") == source).drop("source", "sd", "harm", "shown").sort("expected", "target")
