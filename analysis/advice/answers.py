"""Who helps this target, what will this source harm, what to train next.

Measured cells answer with what to expect of them once they have been picked for their Δ (`analysis/inference/
shrinkage.py`): the highest of many noisy numbers is high partly by luck, and as it stands flatters the first by points.
Cells that were never tried answer with the grid model's prediction (`predict`) and say so. Beside each source stands
what it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.advice import combined, predict
from analysis.advice.advice import Advice
from analysis.frames import HARM_PP, SOURCE, TARGET, NotComputable, cell, harmed
from analysis.inference.noise import Noise, averaged, noise
from analysis.inference.shrinkage import expected, measured
from analysis.reading.grids import ModelGrid
from analysis.reading.recipes import one_of
from analysis.reading.study import Study
from analysis.statistics.health import lowest
from study.cells import Cell
from study.errors import ConfigError

SHARED = 0.5  # share of a target's noise that its cells have in common, where no items tell; the quickstart's is 0.47
FEW = 50  # items of a target below which the first is biased by more than half a point (docs/calibration.md)
SAME = 1e-9  # pp
LEAST = 3  # sources, and targets, from which what to expect can be learned


def chosen(whole: Study, model: str | None, recipe: str | None = None) -> Study:
    """The study to ask, of one model if it is named; ConfigError when there is nothing to ask."""
    study = one_of(whole, recipe)
    if not study.transfer.height:
        problem = "no adapter with a source cell has been scored on a target with an accuracy"
        raise ConfigError("STORE", whole.origin, problem, "run the sweep first")
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
    note = f" (left out: {omitted} that one must expect to harm over {max_harm:g} % of others)" if omitted else ""
    luck = "; the base is at chance or at 0 there, so a loss is luck" if target in _lowest(study) else ""
    said = f"Sources for {target}, best expected Δ first, pp{note}{luck}{_caution(known, study)}:"
    return Advice(said, table, combined.beside(study, target, table))


def about_source(study: Study, name: str) -> Advice:
    """What an adapter of a source will harm and help; ConfigError when there is no such source."""
    known = _known(study)
    source = _cell("--source", name, sorted(set(known["source"])))
    table, luck = for_source(known, source), _lowest(study)
    if luck:  # the base is at chance or at 0 there
        table = table.with_columns((~pl.col("target").is_in(sorted(luck))).alias("can_be_harmed"))
    return Advice(f"Targets of {source}, lowest expected Δ first, pp{_caution(known, study)}:", table)


def _caution(known: pl.DataFrame, study: Study) -> str:
    """What `expected` lacks where nothing tells how noisy Δ is, or how much seeds add, or where items are few."""
    seen = known.filter("measured")
    if seen["sd"].null_count():
        ends = min(seen[end].n_unique() for end in ("source", "target"))
        if study.grids and ends < LEAST:
            return f"; fewer than {LEAST} sources or targets are too few to learn how far luck flatters the first"
        if study.grids:
            return "; every Δ is the same, none comes first"
        return "; their noise is not known, so the first is flattered by its luck"
    said = "; of adapters of one seed each, whose luck is not taken out" if study.transfer["n_seeds"].max() == 1 else ""
    asked = [n for one in study.grids for n in one.grid.n_items[one.there].tolist()]
    few = float(np.median(asked)) if asked else FEW
    if few < FEW:
        said += f"; with {few:.0f} items a target what is expected of the first may be a point off on average"
    return said


def _targets(study: Study) -> list[str]:
    return sorted(set(study.transfer.select(cell(*TARGET).alias("target"))["target"]))


def _model(study: Study) -> predict.Model:
    """The model of the grid, in which every target could be a source; NotComputable where it cannot be fitted."""
    untried = [(cell.task, cell.language) for cell in map(Cell.parse, _targets(study))]
    return predict.fit_grid(predict.grid(study.transfer, untried, joint=study.joint))


def _known(study: Study) -> pl.DataFrame:
    """`answers` for every pair of a study that is measured or can be predicted."""
    try:
        predicted = _model(study).predict()
    except NotComputable:
        predicted = None
    return answers(study.transfer, study.grids, predicted)


def _lowest(study: Study) -> set[str]:
    """Targets that cannot be harmed, for every model is at chance there, or at 0."""
    known = {(panel.model, panel.task, panel.language) for panel in study.panels}
    harmable = known - set(lowest(study.panels).iter_rows())
    return {f"{task}/{name}" for _, task, name in known} - {f"{task}/{name}" for _, task, name in harmable}


def _cell(option: str, text: str, known: list[str]) -> str:
    try:
        name = str(Cell.parse(text))
    except ValueError as error:
        raise ConfigError(option, text, str(error), "write task/language") from error
    if name not in known:
        raise ConfigError(option, text, "the study knows no such cell", f"one of {', '.join(known)}")
    return name


def answers(transfer: pl.DataFrame, grids: Sequence[ModelGrid], predicted: pl.DataFrame | None) -> pl.DataFrame:
    """`source, target, regime, delta, expected, sd, low, high, measured, n_models` of what is known or predicted.

    `delta` is the mean over models as it was measured, `expected` is shrunk where its noise is known. The interval is
    where the Δ of these models lies with 95 % probability (of a new measurement, where none was made).
    """
    rows = transfer.filter(pl.col("delta").is_not_null())
    table = rows.group_by(*SOURCE, *TARGET, "regime").agg(pl.col("delta").mean(), pl.len().alias("n_models"))
    table = table.sort(*SOURCE, *TARGET).with_columns(pl.col("n_models").cast(pl.Int64), pl.lit(True).alias("measured"))
    table = shrunk(table, rows, grids)
    if predicted is not None:
        unseen = predicted.filter(pl.col("delta").is_null())
        table = pl.concat([table, unseen.with_columns(pl.lit(False).alias("measured"))], how="diagonal_relaxed")
    ends = [(pl.col("expected") + z * pl.col("sd")).alias(name) for name, z in (("low", -1.96), ("high", 1.96))]
    names = [cell(*SOURCE).alias("source"), cell(*TARGET).alias("target")]
    columns = [*names, "regime", "delta", "expected", "sd", "low", "high", "measured", "n_models"]
    return table.with_columns(ends).select(columns).sort("source", "target")


def shrunk(table: pl.DataFrame, rows: pl.DataFrame, grids: Sequence[ModelGrid]) -> pl.DataFrame:
    """`table` (a row per pair) with `expected, sd`: posterior means, or Δ itself and null where no noise is known."""
    ends = [sorted(set(table.select(end).iter_rows())) for end in (SOURCE, TARGET)]
    at = [
        [names.index(name) for name in table.select(end).iter_rows()]
        for names, end in zip(ends, (SOURCE, TARGET), strict=True)
    ]
    shape = (len(ends[0]), len(ends[1]))
    of = _noise_of_items(grids, ends) if grids else _noise_of_seeds(rows, ends)
    if of is None or min(shape) < LEAST or np.ptp(table["delta"].to_numpy()) < SAME:
        return table.with_columns(pl.col("delta").alias("expected"), pl.lit(None, pl.Float64).alias("sd"))
    delta, regime = np.full(shape, np.nan), np.zeros(shape, np.int64)
    delta[at[0], at[1]] = table["delta"].to_numpy()
    regime[at[0], at[1]] = table["regime"].rank("dense").to_numpy() - 1
    found = expected(measured(delta, regime, of))
    placed = [np.full(shape, np.nan) for _ in range(2)]
    for whole, part in zip(placed, (found.mean, found.sd), strict=True):
        whole[~np.isnan(delta)] = part
    return table.with_columns(pl.Series("expected", placed[0][at[0], at[1]]), pl.Series("sd", placed[1][at[0], at[1]]))


def _noise_of_items(grids: Sequence[ModelGrid], ends: Sequence[Sequence[tuple[str, ...]]]) -> Noise:
    """From the items and seeds of every model, on common axes, averaged over models."""
    deltas, noises = [], []
    for one in grids:
        place = np.ix_([ends[0].index(name) for name in one.sources], [ends[1].index(name) for name in one.targets])
        own = noise(one.grid, one.cells.seeds)
        whole = [np.full((len(ends[0]), len(ends[1])), np.nan) for _ in range(4)]
        for into, part in zip(whole, (one.grid.delta, own.own, own.shared, own.seeds), strict=True):
            into[place] = part
        deltas.append(whole[0])
        noises.append(Noise(*whole[1:]))
    return averaged(deltas, noises)[1]


def _noise_of_seeds(rows: pl.DataFrame, ends: Sequence[Sequence[tuple[str, ...]]]) -> Noise | None:
    """From standard errors over seeds that drew their items anew: then the base's score varies over them, too.

    Averaged over the sources of a target; targets whose items stayed are taken to be as noisy as the others. None where
    items stayed everywhere, for then nothing tells what they add.
    """
    fresh = rows.filter(pl.col("score_norm_base_std") > 0, pl.col("delta_se") > 0)
    if not fresh.height:
        return None
    errors = fresh.group_by(TARGET).agg((pl.col("delta_se") ** 2).mean() / pl.col("model").n_unique())
    by_target = dict(zip(errors.select(TARGET).iter_rows(), errors.to_series(2), strict=True))
    middle = float(np.mean(list(by_target.values())))
    total = np.broadcast_to([by_target.get(name, middle) for name in ends[1]], (len(ends[0]), len(ends[1])))
    return Noise((1 - SHARED) * total, SHARED * total, np.zeros(total.shape))


def for_target(known: pl.DataFrame, target: str, max_harm: float | None = None) -> pl.DataFrame:
    """Sources for a target, best first, with `harm_elsewhere` and `mean_elsewhere` beside what is known of the pair.

    harm_elsewhere is the share (%) of the source's other targets to expect at Δ ≤ −1.0 pp, noise allowed for; sources
    above `max_harm` are left out.
    """
    here = known.filter(pl.col("target") == target).drop("target", "n_models", "sd")
    elsewhere = known.filter(pl.col("target") != target).with_columns(_chance_of_harm())
    risk = elsewhere.group_by("source").agg(
        (pl.col("harm").mean() * 100).alias("harm_elsewhere"),
        pl.col("expected").mean().alias("mean_elsewhere"),
    )
    table = here.join(risk, on="source", how="left").sort("expected", "source", descending=[True, False])
    if max_harm is not None:
        table = table.filter(pl.col("harm_elsewhere").fill_null(0.0) <= max_harm)
    return table


def _chance_of_harm() -> pl.Expr:
    """Probability of Δ ≤ −1 pp; 0 or 1 where no noise is known."""
    from scipy.special import ndtr

    score = (HARM_PP - pl.col("expected")) / pl.col("sd")
    chance = score.map_batches(lambda z: pl.Series(ndtr(z.to_numpy())), return_dtype=pl.Float64)
    return pl.when(pl.col("sd") > 0).then(chance).otherwise(harmed("expected").cast(pl.Float64)).alias("harm")


def for_source(known: pl.DataFrame, source: str) -> pl.DataFrame:
    """Targets of a source, those that lose most first."""
    return known.filter(pl.col("source") == source).drop("source", "sd").sort("expected", "target")
