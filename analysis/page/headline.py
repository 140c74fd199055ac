"""The most telling lines: what to distrust first, then how big the effect is, what harms, who gives, who takes.

Each line is read off finished tables; a table that could not be made makes its line say so or fall away. A line states
a claim, its interval, its rows and how often such claims are wrong; it names no best or worst that noise may have made.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import KEYS, SOURCE, TRANSFER_REGIMES
from analysis.inference.claims import LEVEL
from analysis.page import combinations, recipes, units
from analysis.page.words import (
    REGIMES,
    claims,
    count,
    percent,
    pp,
    rate_beside_noise,
    sources_of,
    span,
    visible,
)
from analysis.reading.study import Study
from analysis.statistics.health import idle
from analysis.statistics.significance import claimed
from analysis.tables.registry import Made

NAMED = 3  # cells that a line names
CLAIMING = ("significance", "graded", "corpus")  # tables that claim something of single cells


def lines(study: Study, made: dict[str, Made]) -> list[str]:
    """Plain sentences, what to distrust first; of metrics other than accuracy one per table of theirs."""
    found = [
        distrust(study, made),
        overall(study, made),
        _harm(made),
        _sources(made),
        _roles(made, "language"),
        _roles(made, "task"),
        _regimes(made),
        combinations.line(made),
        recipes.line(made),
        *units.lines(made),
    ]
    return [line for line in found if line]


def overall(study: Study, made: dict[str, Made]) -> str:
    """How big the effect is on average."""
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
        f"Effect: {pp(row['mean'])} on average{span(row['low'], row['high'], named=True)}, median {pp(row['median'])}, "
        f"over {count(row['n'], 'transfer cell')} ({size}); {row['positive_rate']:.0f} % show a gain."
    )


def _harm(made: dict[str, Made]) -> str:
    table, tests = made["regime_summary"].frame, made["significance"].frame
    if table is None or "all" not in table["regime"]:
        return ""
    said = f"Harm: {rate_beside_noise(table.row(by_predicate=pl.col('regime') == 'all', named=True))}"
    if tests is None:
        return f"{said}."
    return f"{said}. Of single cells {claims(claimed(tests))}.{_deepest(tests)}"


def _deepest(tests: pl.DataFrame) -> str:
    """Which cells are harmed for certain, the deepest first; not those where nothing can be."""
    sure = tests.filter("harmed", ~pl.col("lowest"), pl.col("regime") != "MT-ML").sort("delta", *KEYS)
    if not sure.height:
        return ""
    several = tests["model"].n_unique() > 1
    cells = [
        f"{units.ends_of(row, several)}, {pp(row['delta'])}{span(row['low'], row['high'], named=not number)}"
        for number, row in enumerate(sure.head(NAMED).iter_rows(named=True))
    ]
    more = f"; and {sure.height - NAMED:,} more" if sure.height > NAMED else ""
    return f" Harmed for certain{units.of_these(sure)}: {'; '.join(cells)}{more}. {units.PICKED}."


def _sources(made: dict[str, Made]) -> str:
    table = made["groups"].frame
    if table is None:
        return ""
    parts: list[str] = []
    several = table["model"].n_unique() > 1
    for family, words in (("source", "sources"), ("task on task", "pairs of tasks")):
        rows = table.filter(pl.col("family") == family)
        worse = rows.filter("worse").sort("mean")
        if not worse.height:
            continue
        row = worse.row(0, named=True)
        name = f"{row['source_task']}/{row['source_language']}" if family == "source" else row["source_task"]
        on = "its other targets" if family == "source" else row["target_task"]
        parts.append(
            f"{worse.height:,} of {rows.height:,} {words}{' (each model counted)' * several}, most of all "
            f"{(row['model'] + ': ') * several}{name} on {on}, {pp(row['mean'])}"
            f"{span(row['low'], row['high'], named=not parts)}"
        )
    if not parts:
        return "What costs on average: no source and no pair of tasks can be said to."
    return f"What costs on average: {'; '.join(parts)}. At most one in twenty is expected to be wrong."


def _regimes(made: dict[str, Made]) -> str:
    table = made["regime_summary"].frame
    if table is None:
        return ""
    parts = [
        f"{REGIMES[r['regime']]} ({r['regime']}) {pp(r['mean'])}{span(r['low'], r['high'], named=not number)}"
        for number, r in enumerate(table.filter(pl.col("regime") != "all").iter_rows(named=True))
    ]
    return "By regime: " + " · ".join(parts) + "."


def _roles(made: dict[str, Made], kind: str) -> str:
    table, stable = made[f"{kind}_roles"].frame, made["rank_stability"].frame
    if table is None:
        return ""
    verbs = (("donor", "gives"), ("recipient", "takes"))
    ends = [end for role, verb in verbs if (end := _ends(table, stable, (kind, role, verb)))]
    return f"{kind.capitalize()}s: " + "; ".join(ends) + "." if ends else ""


def _ends(table: pl.DataFrame, stable: pl.DataFrame | None, of: tuple[str, str, str]) -> str:
    """Who is first and last, adjusted for whom each met where that is known; none where noise often spreads as far."""
    kind, role, verb = of
    fair = table[f"{role}_adjusted"].null_count() < table.height
    score = f"{role}_adjusted" if fair else role
    ranked = table.drop_nulls(score).sort(score, kind, descending=[True, False])
    if ranked.height < 2:
        return ""
    chance, of_all = _chance_of_range(stable, of[:2])
    first, last = ranked.row(0, named=True), ranked.row(-1, named=True)
    ends = [f"{pp(row[score])}{span(row[f'{score}_low'], row[f'{score}_high'])}" for row in (first, last)]
    if pp(first[score]) == pp(last[score]):
        return f"none {verb} more than another ({pp(first[score])} each)"
    far = f"{pp(last[score])} to {pp(first[score])}"
    if chance is None:
        return f"who {verb} most is not known, for nothing says how sure the scores are ({far})"
    said, how = f"none {verb} more than another beyond chance", f"as far ({far})"
    if chance <= LEVEL:
        said = f"{first[kind]}, the first at {ends[0]}, {verb} more than {last[kind]}, the last at {ends[1]}"
        how = "as far"
    which = "them" if of_all == 1 else f"one of the {of_all} rankings"
    return f"{said}: noise alone spreads {which} {how} in {_studies(chance)}"


def _chance_of_range(stable: pl.DataFrame | None, of: tuple[str, str]) -> tuple[float | None, int]:
    """How often noise spreads some ranking of the report as far as this one (Šidák); and how many there are.

    A ranking is of adjusted scores where these are known.
    """
    if stable is None:
        return None, 0
    known = stable.with_columns(pl.coalesce("p_range_adjusted", "p_range").alias("p")).drop_nulls("p")
    known = known.unique(["kind", "role"])
    found = known.filter(pl.col("kind") == of[0], pl.col("role") == of[1])["p"]
    return (1 - (1 - float(found[0])) ** known.height if len(found) else None), known.height


def _studies(chance: float) -> str:
    return f"{percent(100 * chance)} of studies" if chance >= 0.001 else "less than 0.1 % of studies"


def distrust(study: Study, made: dict[str, Made]) -> str:
    """What makes any of it doubtful; nothing where nothing does."""
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
    if study.transfer.height and not study.panels:
        doubts.append("no items are known: nothing is said of single cells, and no interval has the items models share")
    still, n = idle(study.transfer)
    if still.height:
        doubts.append(f"{still.height:,} of {sources_of(n, study.transfer)} did not gain on what they were trained on")
    if power is not None:
        doubts.append(f"a single cell must lose {visible(power)} to be called worse with 80 % chance")
    if _one_seed(study, made):
        doubts.append("there is one seed, so claims are about these adapters, not about what such training does")
    return "Distrust: " + "; ".join(doubts) + "." if doubts else ""


def _one_seed(study: Study, made: dict[str, Made]) -> bool:
    """Whether some claim is about the adapters that were trained; without items, whether no seed but one is known."""
    abouts = [set(frame["about"]) for name in CLAIMING if (frame := made[name].frame) is not None]
    seeds = study.transfer.filter(pl.col("regime").is_in(TRANSFER_REGIMES))["n_seeds"].max()
    return any("this adapter" in about for about in abouts) or (not abouts and seeds == 1)
