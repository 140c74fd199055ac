"""What cannot be trusted: cells whose scores say little about transfer, listed before anything is concluded.

Checks per (model, target), however it is scored: the base is not above chance (one-sided binomial test, α = 0.01; items
that hang together count as those that tell as much), said apart where the same task is above it in another language and
where it is nowhere; where there are no options to guess among, the base has 0 on every item, and nothing lies below;
one option is chosen in over 90 % of items, by the base or by most adapters; one option is right in over 90 %; every
adapter gives identical predictions, or scores alike on every item; fewer items than the same task has in other
languages; items that a train set also holds, by content hash (only where adapters' records list the hashes they were
trained on: `overlap_checked`).

An option is the same one in all items where these offer the same options (letters, classes). Where each item has texts
of its own, the right one may well be the first of all (TruthfulQA's mc1): nothing follows from its number then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from analysis.frames import MODEL_WORDS, SOURCE, TARGET, TARGET_WORDS, Table, need
from analysis.inference.items import Singles
from analysis.reading.groups import together
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from study.store.records import AdapterRecord

ALPHA = 0.01
ONE_OPTION = 0.9
ROUNDING = 1e-6
HERE, EVERYWHERE, ZERO = "base at chance", "task at chance in every language", "base at zero"
SCHEMA = {
    "model": pl.String,
    **dict.fromkeys(TARGET, pl.String),
    "check": pl.String,
    "value": pl.Float64,
    "detail": pl.String,
}
Finding = tuple[str, float, str]  # check, value, detail
Records = Iterable[AdapterRecord]


def health(panels: Sequence[Panel], units: pl.DataFrame, records: Records = ()) -> pl.DataFrame:
    """`model, target_task, target_language, check, value, detail`: one row per doubt, none when all is well."""
    need(bool(panels), "it needs items that are right or wrong, and there are none")
    trained = set(units.filter(pl.col("kind") == "trained")["unit"].to_list())
    chances = {id(panel): _chance_p(panel) for panel in panels}
    hashes = _train_hashes(records)
    rows = []
    for panel in panels:
        siblings = [p for p in panels if p.model == panel.model and p.task == panel.task and p is not panel]
        adapters = np.array([unit in trained for unit in panel.units.tolist()])
        findings = [
            _chance(panel, chances[id(panel)], [chances[id(p)] for p in siblings]) or _zero(panel),
            _one_option(panel, adapters),
            _one_gold(panel),
            _identical(panel, adapters),
            _fewer_items(panel, siblings),
            _overlap(panel, hashes),
        ]
        rows += [(panel.model, panel.task, panel.language, *found) for found in findings if found]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("check", "model", *TARGET)


def _chance_p(panel: Panel) -> float | None:
    """P(at least as many right answers by guessing); None where there are no options to guess among.

    Where items are not scored by being right, by the options that were chosen.
    """
    from scipy.stats import binom

    scores = _right(panel)
    known = ~np.isnan(scores) & (panel.options > 1)
    if not known.any() or not np.isin(scores[known], (0.0, 1.0)).all():
        return None
    chance, right = float((1 / panel.options[known]).mean()), float(scores[known].sum())
    n = int(known.sum())
    apart = n if panel.group is None else max(int(n / together(scores[known], panel.group[known])), 1)
    return float(binom.sf(int(right * apart / n + ROUNDING) - 1, apart, chance))


def _right(panel: Panel) -> Singles:
    """Of the base, 1 where it is right, 0 where it is wrong; where items are scored otherwise, by what it chose."""
    if panel.metric or not panel.valued:
        told = (panel.pred[0] >= 0) & (panel.gold >= 0)
        return np.where(told, panel.pred[0] == panel.gold, np.nan).astype(np.float32)
    return np.asarray(panel.norm[0])


def _chance(panel: Panel, p: float | None, siblings: list[float | None]) -> Finding | None:
    if p is None or p < ALPHA:
        return None
    elsewhere = any(other is not None and other < ALPHA for other in siblings)
    where = "other languages of the task are" if elsewhere else "nor is the task in any other language"
    return (
        HERE if elsewhere else EVERYWHERE,
        p,
        f"the base scores {100 * float(np.nanmean(_right(panel))):.1f} %, not above chance (p = {p:.2g}); {where}. "
        "What is at chance cannot be harmed: a loss here is luck",
    )


def _zero(panel: Panel) -> Finding | None:
    """Of a metric that is nowhere below 0."""
    known = panel.norm[0][~np.isnan(panel.norm[0])]
    if not len(known) or known.any() or (panel.options > 1).any() or float(np.nanmin(panel.norm)) < 0:
        return None
    return ZERO, 0.0, f"the base has 0 on all {len(known)} items, so nothing can be harmed"


def lowest(panels: Sequence[Panel]) -> pl.DataFrame:
    """`model, target…` of what cannot be harmed, for its base is at chance or at 0 already."""
    chances = [(panel, _chance_p(panel)) for panel in panels]
    rows = [(p.model, p.task, p.language) for p, chance in chances if _chance(p, chance, []) or _zero(p)]
    return pl.DataFrame(rows, schema=dict.fromkeys(["model", *TARGET], pl.String), orient="row")


def marked(table: pl.DataFrame, panels: Sequence[Panel]) -> pl.DataFrame:
    """The table with `lowest`: whether its model and target are of those."""
    bad = lowest(panels).with_columns(pl.lit(True).alias("lowest"))
    found = table.join(bad, on=["model", *TARGET], how="left", maintain_order="left")
    return found.with_columns(pl.col("lowest").fill_null(False))


def _one_option(panel: Panel, adapters: np.ndarray) -> Finding | None:
    if not panel.classes and _top_share(panel.gold[panel.gold >= 0]) > ONE_OPTION:
        return None
    shares = [_top_share(row[row >= 0]) for row in panel.pred]
    stuck = [share > ONE_OPTION for share, is_adapter in zip(shares, adapters, strict=True) if is_adapter]
    if shares[0] > ONE_OPTION:
        return (
            "one option chosen",
            100 * shares[0],
            f"the base picks the same option in {100 * shares[0]:.0f} % of items",
        )
    if stuck and np.mean(stuck) > 0.5:
        return (
            "one option chosen",
            100 * float(np.mean(stuck)),
            f"{sum(stuck)} of {len(stuck)} adapters pick one option",
        )
    return None


def _one_gold(panel: Panel) -> Finding | None:
    share = _top_share(panel.gold[panel.gold >= 0])
    if share <= ONE_OPTION or not panel.classes:
        return None
    return (
        "one option right",
        100 * share,
        f"the same option is right in {100 * share:.0f} % of items, so a score tells a habit from another, not skill",
    )


def _top_share(chosen: np.ndarray) -> float:
    return float(np.unique(chosen, return_counts=True)[1].max() / len(chosen)) if len(chosen) >= 10 else 0.0


def _identical(panel: Panel, adapters: np.ndarray) -> Finding | None:
    """By the options that were chosen; where there are none, by what every item scores."""
    chosen = bool((panel.pred >= 0).any())
    rows = (panel.pred if chosen else panel.norm)[adapters]
    none = (rows < 0).all() if chosen else np.isnan(rows).all()
    if len(rows) < 2 or none or not np.array_equal(rows, np.broadcast_to(rows[0], rows.shape), equal_nan=True):
        return None
    same = np.array_equal(rows[0], (panel.pred if chosen else panel.norm)[0], equal_nan=True)
    what, check = ("predictions", "identical predictions") if chosen else ("scores of the items", "identical scores")
    also = " and to the base's" if same else ""
    return check, float(len(rows)), f"the {what} of all {len(rows)} adapters are identical{also}"


def _fewer_items(panel: Panel, siblings: list[Panel]) -> Finding | None:
    most = max((len(p.docs) for p in siblings), default=0)
    if len(panel.docs) >= most:
        return None
    return (
        "fewer items",
        float(len(panel.docs)),
        f"{len(panel.docs)} items, other languages of the task have up to {most}",
    )


def _train_hashes(records: Records) -> dict[str, set[str]]:
    """Model to the content hashes of items that its adapters were trained on, as far as records tell."""
    found: dict[str, set[str]] = {}
    for record in records:
        found.setdefault(record.model, set()).update(record.train_doc_hashes)
    return found


def _overlap(panel: Panel, hashes: dict[str, set[str]]) -> Finding | None:
    shared = sum(h in hashes.get(panel.model, ()) for h in panel.hashes)
    if not shared:
        return None
    return (
        "train/test overlap",
        float(shared),
        f"{shared} of {len(panel.docs)} items are also in some adapter's train set",
    )


def unchecked(study: Study) -> int:
    """How many targets, each model counted, have scores but no items; of raw text nothing is asked."""
    known = (*study.asked, *study.texts)
    seen = {(panel.model, panel.task, panel.language) for panel in known} | study.unhealthy
    return len(set(study.units.select("model", *TARGET).iter_rows()) - seen)


def idle(transfer: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """`model, source…, delta` of sources that did not gain on their own cells; and of how many sources."""
    own = transfer.filter(pl.col("regime") == "MT-ML").group_by("model", *SOURCE).agg(pl.col("delta").mean())
    known = own.drop_nulls("delta")
    return known.filter(pl.col("delta") <= 0).sort("delta", "model", *SOURCE), known.height


def overlap_checked(records: Records) -> str:
    """Whether test items were looked for among train examples, in words."""
    listed = [bool(record.train_doc_hashes) for record in records]
    if not any(listed):
        return "Whether test items are among the train examples was not checked: no adapter's record lists them."
    if all(listed):
        return "Test items were looked for among the train examples of every adapter."
    return (
        f"Test items were looked for among the train examples of {sum(listed):,} of {len(listed):,} adapters; the "
        "records of the others do not list them."
    )


TABLES = (
    Table[Study](
        "health",
        "Targets that cannot be trusted",
        "items of every model and target",
        {
            **MODEL_WORDS,
            **TARGET_WORDS,
            "check": "what is wrong",
            "value": "the number behind it: a p-value, a share in %, or a count",
            "detail": "in words",
        },
        lambda study: health(study.asked, study.units, study.records),
    ),
)
