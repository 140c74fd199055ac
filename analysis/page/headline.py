"""The most telling lines: what to distrust first, then how big the effect is, what harms, who gives, who takes.

Each line is read off finished tables; a table that could not be made makes its line say so or fall away. A line states
a claim, its interval, its rows and how often such claims are wrong, and names no best or worst that noise may have made.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import SOURCE, TRANSFER_REGIMES
from analysis.reading.study import Study
from analysis.statistics.significance import claimed
from analysis.tables.registry import Made

SHORT = {
    "MT-ML": "own cell",
    "MT-CL": "same task, other language",
    "CT-ML": "other task, same language",
    "CT-CL": "other task and language",
}
Row = dict[str, object]


def lines(study: Study, made: dict[str, Made]) -> list[str]:
    """At most seven plain sentences, what to distrust first."""
    found = [
        _distrust(study, made),
        _overall(study, made),
        _harm(made),
        _sources(made),
        _roles(made, "language"),
        _roles(made, "task"),
        _regimes(made),
    ]
    return [line for line in found if line]


def pp(value: object) -> str:
    """A Δ with its sign and unit."""
    return "unknown" if not isinstance(value, float) else f"{value:+.2f} pp".replace("-", "−")


def span(low: object, high: object) -> str:
    """An interval in brackets; nothing where it is not known."""
    if not isinstance(low, float) or not isinstance(high, float):
        return ""
    return f" [{low:+.1f} to {high:+.1f}]".replace("-", "−")


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
        f"Effect: {pp(row['mean'])} on average{span(row['low'], row['high'])}, median {pp(row['median'])}, over "
        f"{row['n']:,} transfer cells ({size}); {row['positive_rate']:.0f} % show a gain."
    )


def rate_beside_noise(row: Row) -> str:
    """A harm rate with what noise alone would print and what is harmed at least, where that is known."""
    said = f"{row['harm_rate']:.0f} % show a loss of a point or more"
    if row["harm_floor"] is None:
        return f"{said} (how much of it is noise is not known)"
    least = f"{row['harm_least']:.0f} % or more truly lose as much" if row["harm_least"] else "that any truly do is not shown"
    return f"{said}, noise alone would show {row['harm_floor']:.0f} %; {least} (95 % sure)"


def _harm(made: dict[str, Made]) -> str:
    table, tests = made["regime_summary"].frame, made["significance"].frame
    if table is None or "all" not in table["regime"]:
        return ""
    said = f"Harm: {rate_beside_noise(table.row(by_predicate=pl.col('regime') == 'all', named=True))}"
    if tests is None:
        return f"{said}."
    n = claimed(tests)
    if not n["worse"] and not n["better"]:
        return f"{said}. No single cell is sure to be worse or better."
    certain = f", {n['harmed']:,} of them by a point for certain" if n["harmed"] else ""
    return (
        f"{said}. {count(n['worse'], 'cell')} can be called worse{certain}, {n['better']:,} better (of each kind at most "
        "one in twenty is expected to be called so wrongly)."
    )


def _sources(made: dict[str, Made]) -> str:
    table = made["groups"].frame
    if table is None:
        return ""
    parts = []
    for family, words in (("source", "source"), ("task on task", "pair of tasks")):
        rows = table.filter(pl.col("family") == family)
        worse = rows.filter("worse").sort("mean")
        if not worse.height:
            continue
        row = worse.row(0, named=True)
        name = f"{row['source_task']}/{row['source_language']}" if family == "source" else row["source_task"]
        on = "its other targets" if family == "source" else row["target_task"]
        parts.append(
            f"{worse.height:,} of {count(rows.height, words)} cost others on average, most of all {name} on {on} "
            f"({pp(row['mean'])}{span(row['low'], row['high'])})"
        )
    return "What costs: " + "; ".join(parts) + "." if parts else "What costs: no source or task is sure to, on average."


def _regimes(made: dict[str, Made]) -> str:
    table = made["regime_summary"].frame
    if table is None:
        return ""
    parts = [
        f"{SHORT[r['regime']]} {pp(r['mean'])}{span(r['low'], r['high'])}"
        for r in table.iter_rows(named=True)
        if r["regime"] != "all"
    ]
    return "By regime: " + " · ".join(parts) + "."


def _roles(made: dict[str, Made], kind: str) -> str:
    table = made[f"{kind}_roles"].frame
    if table is None:
        return ""
    parts = [part for role, verb in (("donor", "gives"), ("recipient", "takes")) if (part := _ends(table, kind, role, verb))]
    return f"{kind.capitalize()}s: " + "; ".join(parts) + "." if parts else ""


def _ends(table: pl.DataFrame, kind: str, role: str, verb: str) -> str:
    """Who is first and last, adjusted for whom each met where that is known; that none is, where noise may order them."""
    score = f"{role}_adjusted" if table[f"{role}_adjusted"].null_count() < table.height else role
    ranked = table.drop_nulls(score).sort(score, kind, descending=[True, False])
    if ranked.height < 2:
        return ""
    first, last = ranked.row(0, named=True), ranked.row(-1, named=True)
    ends = [(row[kind], row[score], row[f"{score}_low"], row[f"{score}_high"]) for row in (first, last)]
    (best, most, low, high), (worst, least, _, last_high) = ends
    if low is None or last_high is None or low <= last_high:
        why = "their intervals overlap" if low is not None else "how sure that is, is not known"
        return f"none {verb} surely more than another ({pp(least)} to {pp(most)}; {why})"
    return f"{best} {verb} most ({pp(most)}{span(low, high)}), {worst} least ({pp(least)})"


def _distrust(study: Study, made: dict[str, Made]) -> str:
    doubts = []
    health, power = made["health"].frame, made["power"].frame
    if study.trial_run:
        doubts.append("this is a trial run on a few items")
    if study.expected and study.done < study.expected:
        doubts.append(f"{study.expected - study.done:,} of {study.expected:,} scores are not done")
    if study.failures:
        doubts.append(f"{count(len(study.failures), 'unit')} failed")
    if health is not None and health.height:
        targets = health.select("model", "target_task", "target_language").n_unique()
        doubts.append(f"{count(targets, 'target')} cannot be trusted ({', '.join(sorted(set(health['check'])))})")
    if power is not None:
        smallest = f"{abs(float(power['smallest'].max())):.0f}"  # type: ignore[arg-type]
        doubts.append(f"a single cell must lose {smallest} points or more to be called worse with 80 % chance")
    if study.transfer.filter(pl.col("regime").is_in(TRANSFER_REGIMES)).height and study.transfer["n_seeds"].max() == 1:
        doubts.append("there is one seed, so claims are about these adapters, not about what such training does")
    return "Distrust: " + "; ".join(doubts) + "." if doubts else ""
