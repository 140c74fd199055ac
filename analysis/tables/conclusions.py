"""Which conclusions hold in two studies: each is drawn from either, on the cells both have, and the answers compared.

An answer that a tie decides is none. Answers are of what was measured, noise and all: `compare_regimes` and
`compare_roles` have the differences with their intervals.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from analysis.frames import NotComputable, Table, harm_rate, need
from analysis.statistics.linguistic import linguistic
from analysis.statistics.regimes import regime_summary
from analysis.statistics.roles import language_roles, task_roles
from analysis.statistics.variance import variance_crossed
from analysis.tables.common import Pair, Transfer, on_common_cells

TIED = 1e-9  # pp


def _mean(transfer: Transfer, regime: str) -> float:
    rows = regime_summary(transfer).filter(pl.col("regime") == regime)
    need(rows.height > 0, f"there are no rows of regime {regime}")
    return float(rows["mean"].item())


def _harm(transfer: Transfer, same_task: bool) -> float:
    rows = transfer.filter(pl.col("regime").is_in(["MT-CL"] if same_task else ["CT-ML", "CT-CL"]))
    need(rows.height > 0, "there are no such rows")
    return float(rows.select(harm_rate()).item())


def _top(table: pl.DataFrame, key: str, role: str) -> str:
    ranked_rows = table.drop_nulls(role).sort(role, key, descending=[True, False])
    need(ranked_rows.height > 1, "fewer than two are ranked")
    need(ranked_rows[role][0] - ranked_rows[role][1] > TIED, "the first two are level")
    return str(ranked_rows[key][0])


def _more(one: float, other: float) -> bool:
    need(abs(one - other) > TIED, "both are level")
    return one > other


def _decides(transfer: Transfer) -> bool:
    table = variance_crossed(transfer, draws=0).filter(pl.col("scope") == "overall")
    share = dict(table.select("component", "share").iter_rows())
    need(share.get("target") is not None and share.get("source") is not None, "there is one source or one target")
    return _more(share["target"], share["source"])


def _closeness(transfer: Transfer) -> bool:
    found = linguistic(transfer, permutations=0)["pearson"][0]
    need(found is not None, "every language pair has the same Δ or the same distance")
    return _more(0.0, found)


CONCLUSIONS: tuple[tuple[str, Callable[[Transfer], object]], ...] = (
    ("transfer raises scores on average", lambda t: _more(_mean(t, "all"), 0.0)),
    ("the own cell gains more than other languages of the task", lambda t: _more(_mean(t, "MT-ML"), _mean(t, "MT-CL"))),
    ("other languages of the task gain more than other tasks", lambda t: _more(_mean(t, "MT-CL"), _mean(t, "CT-ML"))),
    ("harm is commoner on other tasks than on other languages", lambda t: _more(_harm(t, False), _harm(t, True))),
    ("best donor language", lambda t: _top(language_roles(t), "language", "donor")),
    ("language that gains most", lambda t: _top(language_roles(t), "language", "recipient")),
    ("best donor task", lambda t: _top(task_roles(t), "task", "donor")),
    ("task that gains most", lambda t: _top(task_roles(t), "task", "recipient")),
    ("the target decides Δ more than the source", _decides),
    ("syntactically closer languages help each other more", _closeness),
)


def compare_conclusions(pair: Pair) -> pl.DataFrame:
    """`conclusion, here, there, holds`: yes, no or a name on each side; holds is null where either is not known."""
    rows = []
    shared = on_common_cells(pair)
    for words, draw in CONCLUSIONS:
        sides = [_answer(draw, transfer) for transfer in shared]
        known = None not in sides
        rows.append(
            (words, *("not known" if side is None else side for side in sides), sides[0] == sides[1] if known else None)
        )
    schema = {"conclusion": pl.String, "here": pl.String, "there": pl.String, "holds": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _answer(draw: Callable[[Transfer], object], transfer: Transfer) -> str | None:
    try:
        found = draw(transfer)
    except NotComputable:
        return None
    return {True: "yes", False: "no"}.get(found, str(found)) if isinstance(found, bool) else str(found)


TABLES: tuple[Table[Pair], ...] = (
    Table[Pair](
        "compare_conclusions",
        "Which conclusions hold in both",
        "cells both have",
        {
            "conclusion": "what is asked of each study",
            "here": "the answer of this study, noise and all: yes, no, or a name",
            "there": "the answer of the other",
            "holds": "whether the answers are the same; null where either is not known, or a tie",
        },
        compare_conclusions,
    ),
)
