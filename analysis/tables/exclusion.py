"""A study without the targets that fail a health check, however they are scored."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from analysis.frames import TARGET, NotComputable
from analysis.reading.panels import Panel
from analysis.reading.scores import beside_base, of_sizes
from analysis.reading.study import BESIDE, Study
from analysis.statistics.health import health
from study.errors import ConfigError


def healthy_rows(transfer: pl.DataFrame, doubts: pl.DataFrame) -> pl.DataFrame:
    """Rows on targets without a doubt."""
    return transfer.join(doubts.select("model", *TARGET).unique(), on=["model", *TARGET], how="anti").sort(
        transfer.columns[:7]
    )


def without_unhealthy(study: Study) -> Study:
    """The study without the targets that fail a health check; ConfigError when they cannot be checked."""
    try:
        doubts = health(study.asked, study.units, study.records)
    except NotComputable as none:
        raise ConfigError("--exclude-unhealthy", study.origin, str(none), "give a store with item rows") from none
    bad, why = set(doubts.select("model", *TARGET).iter_rows()), ", ".join(sorted(set(doubts["check"])))
    kept = healthy_rows(study.transfer, doubts)
    of_bad = study.units.join(doubts.select("model", *TARGET), on=["model", *TARGET], how="semi")
    scores = study.scores.join(of_bad, on="unit", how="anti") if study.scores.height else study.scores
    gone = _apart(study, of_bad)
    of_samples = sum(gone[table] for table in ("learning_curve", "graded_curve", "corpus_curve"))
    beside = sum(gone[table] for table in BESIDE.values())
    others = sum(gone.values()) - of_samples - beside
    unhealthy = f"{len(bad)} unhealthy targets ({why})"
    notes = (
        (study.transfer.height - kept.height, f"rows of the transfer table on {unhealthy}"),
        (others, f"score units of other metrics on {unhealthy}"),
        (of_samples, f"score units of samples on {unhealthy}"),
        (beside, f"score units of compositions and existing adapters on {unhealthy}"),
    )

    return replace(
        without(study, frozenset(bad)),
        transfer=kept,
        scores=scores,
        excluded=(*study.excluded, *(note for note in notes if note[0])),
        apart=tuple((left, table) for n, table in study.apart if (left := n - gone.get(table, 0))),
    )


def check_left(study: Study) -> None:
    """Raise ConfigError where no target is left, under any recipe."""
    recipes = [study] if study.across is None else list(study.across.studies.values())
    if not any(one.asked or one.texts for one in recipes):
        problem = f"all {len(study.unhealthy)} targets fail a health check, and nothing is left to report"
        raise ConfigError("--exclude-unhealthy", study.origin, problem, "leave it out: the page tells what each fails")


def without(study: Study, bad: frozenset[tuple[str, str, str]]) -> Study:
    """A study without the items of some targets of models."""

    def healthy(panels: tuple[Panel, ...]) -> tuple[Panel, ...]:
        return tuple(panel for panel in panels if (panel.model, panel.task, panel.language) not in bad)

    return replace(
        study,
        panels=healthy(study.panels),
        graded=healthy(study.graded),
        bare=healthy(study.bare),
        texts=healthy(study.texts),
        unhealthy=bad,
    )


def _apart(study: Study, units: pl.DataFrame) -> dict[str, int]:
    """How many of these score units are in which table of their own."""
    trained = units.filter(pl.col("kind") == "trained")
    is_graded = pl.col("unit").is_in([unit for panel in study.graded for unit in panel.scored.tolist()])
    of_draws = beside_base(study.scores.filter(pl.col("headline")), study.units) if study.scores.height else None
    drawn = 0 if of_draws is None else of_draws.filter("comparable").join(trained, on="unit", how="semi").height
    samples = units.filter(pl.col("kind") == "sample", pl.col("score").is_not_null()).height
    beside = {table: units.filter(pl.col("kind") == kind).height for kind, table in BESIDE.items()}
    tables = {"graded": study.graded}
    in_curves = {table: n for n, table in of_sizes(tables, study.scores, units)} if study.scores.height else {}
    in_curves = {"learning_curve": samples, "graded_curve": 0, "corpus_curve": 0} | in_curves
    return {**in_curves, "graded": trained.filter(is_graded).height, "corpus": drawn, **beside}
