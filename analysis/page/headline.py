"""The most telling lines: how big the effect is, who gives, who takes, what harms, what to distrust.

Each line is read off finished tables; a table that could not be made makes its line say so or fall away.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import SOURCE, TRANSFER_REGIMES, cell, harmed
from analysis.reading.study import Study
from analysis.statistics.significance import harm_that_survives
from analysis.tables.registry import Made

SHORT = {
    "MT-ML": "own cell",
    "MT-CL": "same task, other language",
    "CT-ML": "other task, same language",
    "CT-CL": "other task and language",
}


def lines(study: Study, made: dict[str, Made]) -> list[str]:
    """At most six plain sentences, the most telling first."""
    found = [
        _overall(study, made),
        _regimes(made),
        _roles(made, "language"),
        _roles(made, "task"),
        _harmful(study),
        _distrust(study, made),
    ]
    return [line for line in found if line]


def pp(value: float | None) -> str:
    """A Δ with its sign and unit."""
    return "unknown" if value is None else f"{value:+.2f} pp".replace("-", "−")


def count(n: int, what: str) -> str:
    """So many of them, in the plural but for one."""
    return f"{n:,} {what if n == 1 else what + 's'}"


def _overall(study: Study, made: dict[str, Made]) -> str:
    table = made["regime_summary"].frame
    if table is None or "all" not in table["regime"]:
        reason = made["regime_summary"].reason or "no target other than the adapters' own cells has been scored"
        return f"Transfer cannot be summed up: {reason}."
    row = table.row(by_predicate=pl.col("regime") == "all", named=True)
    rows = study.transfer
    size = ", ".join(
        (
            count(rows["model"].n_unique(), "model"),
            count(rows.select(SOURCE).n_unique(), "source"),
            count(rows.select("target_task", "target_language").n_unique(), "target"),
        )
    )
    return (
        f"Effect: {pp(row['mean'])} on average (median {pp(row['median'])}) over {row['n']:,} transfer cells ({size}); "
        f"{row['positive_rate']:.1f} % gain, {row['harm_rate']:.1f} % lose a point or more."
    )


def _regimes(made: dict[str, Made]) -> str:
    table = made["regime_summary"].frame
    if table is None:
        return ""
    parts = [
        f"{SHORT[r['regime']]} {pp(r['mean'])} ({r['harm_rate']:.0f} % harmed)"
        for r in table.iter_rows(named=True)
        if r["regime"] != "all"
    ]
    return "By regime: " + " · ".join(parts) + "."


def _ends(table: pl.DataFrame | None, key: str, by: str) -> tuple[tuple[str, float], tuple[str, float]] | None:
    ranked = None if table is None else table.drop_nulls(by).sort(by, key, descending=[True, False])
    if ranked is None or ranked.height < 2:
        return None
    first, last = ranked.row(0, named=True), ranked.row(-1, named=True)
    return (first[key], first[by]), (last[key], last[by])


def _roles(made: dict[str, Made], kind: str) -> str:
    table = made[f"{kind}_roles"].frame
    donors, takers = _ends(table, kind, "donor"), _ends(table, kind, "recipient")
    if not donors or not takers:
        return ""
    (best, gives), (worst, gives_least) = donors
    (first, takes), (last, takes_least) = takers
    return (
        f"{kind.capitalize()}s: {best} gives most to other {kind}s ({pp(gives)}), {worst} least ({pp(gives_least)}); "
        f"{first} takes most ({pp(takes)}), {last} least ({pp(takes_least)})."
    )


def _harmful(study: Study) -> str:
    rows = study.transfer.filter(pl.col("regime").is_in(TRANSFER_REGIMES), pl.col("delta").is_not_null())
    if not rows.height:
        return ""
    worst = (
        rows.with_columns(cell(*SOURCE).alias("source"))
        .group_by("source")
        .agg(harmed().mean().alias("share"), pl.col("delta").mean())
        .sort("share", "delta", "source", descending=[True, False, False])
        .row(0, named=True)
    )
    if worst["share"] == 0:
        return "Harm: no source takes a point or more from any target."
    low = rows.sort("delta", *SOURCE).row(0, named=True)
    return (
        f"Harm: {worst['source']} harms most widely ({100 * worst['share']:.0f} % of its targets, {pp(worst['delta'])} "
        f"on average); the deepest single loss is {low['source_task']}/{low['source_language']} → "
        f"{low['target_task']}/{low['target_language']} ({pp(low['delta'])})."
    )


def _distrust(study: Study, made: dict[str, Made]) -> str:
    doubts = []
    tests, health = made["significance"].frame, made["health"].frame
    if tests is not None:
        harmed, sure = harm_that_survives(tests)
        if harmed:
            doubts.append(f"of {harmed:,} harmed cells {sure:,} are beyond chance (q ≤ 0.05)")
    if health is not None and health.height:
        targets = health.select("model", "target_task", "target_language").n_unique()
        doubts.append(f"{count(targets, 'target')} cannot be trusted ({', '.join(sorted(set(health['check'])))})")
    if study.trial_run:
        doubts.append("this is a trial run on a few items")
    if study.expected and study.done < study.expected:
        doubts.append(f"{study.expected - study.done:,} of {study.expected:,} scores are not done")
    if study.failures:
        doubts.append(f"{count(len(study.failures), 'unit')} failed")
    if study.transfer.height and study.transfer["n_seeds"].max() == 1:
        doubts.append("there is one seed, so no spread over seeds is known")
    return "Distrust: " + "; ".join(doubts) + "." if doubts else ""
