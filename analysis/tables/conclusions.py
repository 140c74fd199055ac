"""Which conclusions hold in two studies: each is drawn from either, on the cells both have, and the answers compared.

An answer counts where noise does not make it: where its 95 % interval, over models or over items and seeds of one,
leaves no other. Else it is open, or told as it was measured where nothing is known of the noise; a tie is none at all.
Only answers that count agree or differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import SOURCE, TARGET, NotComputable, Table, harmed, need, transfer_rows
from analysis.inference.claims import LEVEL
from analysis.inference.means import Interval
from analysis.reading.grids import ModelGrid
from analysis.statistics.languages.linguistic import linguistic
from analysis.statistics.roles import language_roles, mean_of_rows, task_roles
from analysis.statistics.variance.shares import variance_crossed, variance_noiseless
from analysis.tables.common import Pair, Transfer, on_common_cells

TIED = 1e-9  # pp
OTHER_TASK = ("CT-ML", "CT-CL")


@dataclass(frozen=True)
class Side:
    """One study on the cells that the other has too, model by model."""

    rows: Transfer
    grids: Sequence[ModelGrid]


@dataclass(frozen=True)
class Answer:
    """What is said, and whether it is beyond noise; None where that is not known."""

    said: str
    sure: bool | None

    @property
    def text(self) -> str:
        return {True: self.said, False: f"open ({self.said} as measured)", None: f"{self.said} as measured"}[self.sure]


def sides_of(pair: Pair) -> list[Side]:
    """Either study's single sources on the common cells; NotComputable without any."""
    pair = pair[0].singles, pair[1].singles
    shared = on_common_cells(pair)
    sides = []
    for study, common in zip(pair, shared, strict=True):
        keys = [*SOURCE, *TARGET]
        if set(common["model"]) <= set(study.transfer["model"]):
            keys = ["model", *keys]
        rows = study.transfer.filter(pl.col("delta").is_not_null()).join(common.select(keys), on=keys, how="semi")
        sides.append(Side(rows, study.grids))
    return sides


def _sign(value: float, low: float, high: float) -> Answer:
    """Whether a number is above 0."""
    need(abs(value) > TIED, "it is a tie")
    return Answer("yes" if value > 0 else "no", None if np.isnan(low) else low > 0 or high < 0)


def _of_interval(value: float, found: Interval) -> Answer:
    return _sign(value, float(found.low[0]), float(found.high[0]))


def _mean(side: Side) -> Answer:
    rows = transfer_rows(side.rows)
    return _of_interval(float(np.mean(rows["delta"].to_numpy())), mean_of_rows(rows, side.grids))


def _gains_more(side: Side, one: str, other: str) -> Answer:
    """Whether cells of one regime gain more than those of another."""
    rows, less = (transfer_rows(side.rows, regime) for regime in (one, other))
    value = float(np.mean(rows["delta"].to_numpy()) - np.mean(less["delta"].to_numpy()))
    return _of_interval(value, mean_of_rows(rows, side.grids, less))


def _harms_more(side: Side) -> Answer:
    """Whether printed harm is commoner on other tasks than on other languages; sure of it over models alone."""
    off = pl.col("regime").is_in(OTHER_TASK)
    on = pl.col("regime") == "MT-CL"
    shares = [100 * harmed().filter(kind).mean() for kind in (off, on)]
    rows = side.rows.filter(off | on)
    difference = (shares[0] - shares[1]).alias("difference")
    value = rows.select(difference)["difference"][0]
    need(value is not None, "there are no such rows")
    each = rows.group_by("model").agg(difference)["difference"].drop_nulls().to_numpy()
    half = np.nan if len(each) < 2 else _t(len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
    return _sign(value, each.mean() - half, each.mean() + half)


def _t(df: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, df))


def _first(table: pl.DataFrame, key: str, role: str) -> Answer:
    """Who is first; sure where its interval is above that of the second."""
    ranked = table.drop_nulls(role).sort(role, key, descending=[True, False])
    need(ranked.height > 1, "fewer than two are ranked")
    first, second = ranked.row(0, named=True), ranked.row(1, named=True)
    need(first[role] - second[role] > TIED, "the first two are level")
    ends = first[f"{role}_low"], second[f"{role}_high"]
    return Answer(str(first[key]), None if None in ends else ends[0] > ends[1])


def _target_decides(side: Side) -> Answer:
    """From components without noise where all cells of a study are compared, else as they are measured."""
    cells = sum(int(one.there.sum()) for one in side.grids)
    clean = bool(side.grids) and cells == side.rows.height
    table = variance_noiseless(side.grids) if clean else variance_crossed(side.rows, draws=0)
    known = table.filter(pl.col("scope") == "overall")
    share = dict(known.select("component", "share").iter_rows())
    need(share.get("target") is not None and share.get("source") is not None, "there is one source or one target")
    errors = [error for _, error in known.select("component", "share_se").iter_rows() if _ in ("target", "source")]
    half = np.nan if not clean or None in errors else 1.96 * float(np.hypot(*errors))
    value = share["target"] - share["source"]
    return _sign(value, value - half, value + half)


def _closeness(side: Side) -> Answer:
    row = linguistic(transfer_rows(side.rows, "MT-CL")).row(0, named=True)
    need(row["pearson"] is not None and abs(row["pearson"]) > TIED, "Δ and distance go with neither way")
    return Answer("yes" if row["pearson"] < 0 else "no", row["mantel_p"] <= LEVEL)


CONCLUSIONS: tuple[tuple[str, Callable[[Side], Answer]], ...] = (
    ("transfer raises scores on average", _mean),
    ("the own cell gains more than other languages of the task", lambda s: _gains_more(s, "MT-ML", "MT-CL")),
    ("other languages of the task gain more than other tasks", lambda s: _gains_more(s, "MT-CL", "CT-ML")),
    ("a loss of a point is commoner on other tasks than on other languages", _harms_more),
    ("best donor language", lambda s: _first(language_roles(s.rows, s.grids), "language", "donor")),
    ("language that gains most", lambda s: _first(language_roles(s.rows, s.grids), "language", "recipient")),
    ("best donor task", lambda s: _first(task_roles(s.rows, s.grids), "task", "donor")),
    ("task that gains most", lambda s: _first(task_roles(s.rows, s.grids), "task", "recipient")),
    ("the target decides Δ more than the source", _target_decides),
    ("syntactically closer languages help each other more", _closeness),
)


def compare_conclusions(pair: Pair) -> pl.DataFrame:
    """`conclusion, here, there, holds`: an answer on each side; holds is null unless both are beyond noise."""
    rows = []
    sides = sides_of(pair)
    for words, draw in CONCLUSIONS:
        here, there = (_answer(draw, side) for side in sides)
        sure = here is not None and there is not None and bool(here.sure and there.sure)
        told = ["not known" if one is None else one.text for one in (here, there)]
        rows.append((words, *told, told[0] == told[1] if sure else None))
    schema = {"conclusion": pl.String, "here": pl.String, "there": pl.String, "holds": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _answer(draw: Callable[[Side], Answer], side: Side) -> Answer | None:
    try:
        return draw(side)
    except NotComputable:
        return None


TABLES: tuple[Table[Pair], ...] = (
    Table[Pair](
        "compare_conclusions",
        "Which conclusions hold in both",
        "cells both have",
        {
            "conclusion": "what is asked of each study",
            "here": "the answer of this study: yes, no or a name where noise does not make it (95 %, over models or "
            "over items and seeds of the one), open where it may, as measured where that is not known",
            "there": "the answer of the other",
            "holds": "whether the answers are the same; null unless both are beyond noise",
        },
        compare_conclusions,
        how="An answer counts where noise does not make it. Open means that it may, whatever was measured; as measured "
        "that nothing tells. Studies agree or differ only where both answers count.",
    ),
)
