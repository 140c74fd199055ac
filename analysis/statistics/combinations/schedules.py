"""Is one adapter of several cells better than one of each? Joint, staged and regularised sources beside others.

A row is a source of several cells, a stage, or one that was kept near the base, by how its cells were mixed
(`recipe.mixing`) and how it was kept (`recipe.keep_near_base`: β weighs the divergence from the base, μ the size of
ΔW). What it stands `beside` is one of `rivals`; the tokens that either read in training are given. Intervals are those
of means of cells (`analysis/inference/means.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from analysis.frames import HARM_PP, MODEL_WORDS, Table, need
from analysis.inference.items import Floats
from analysis.inference.rates import bounding, lower_bound, noise_floor
from analysis.reading.grids import ModelGrid, model_grids
from analysis.reading.study import Study
from analysis.statistics.combinations.learned import Learned, learned
from analysis.statistics.combinations.reported import all_scales
from analysis.statistics.combinations.rivals import AS_MUCH, SINGLE, Abroad, Bools, Rival, at_home, bools
from analysis.statistics.graded import Scale
from study.cells import Cell, regime_of

ONE_SEED = "these adapters"
SIDES = {"own": ("MT-ML",), "on_task": ("MT-CL",), "off_task": ("CT-ML", "CT-CL")}


def schedules(study: Study) -> pl.DataFrame:
    """A row per such source, what stands beside it, and metric; NotComputable where all sources are plain ones."""
    known = learned(study)
    need(
        any(one.is_special for mine in known.values() for one in mine),
        "no source has several cells or is a stage, and none was kept near the base",
    )
    rows, abroad = [], Abroad(study)
    for scale in all_scales(study):
        for one in model_grids(scale.panels, study.units, scale.measure, study.joint):
            rows += list(_rows(one, scale, known.get(one.model, ()), abroad))
    need(bool(rows), "no such source was scored on a target that its base was scored on")
    return pl.DataFrame(rows, infer_schema_length=None).fill_nan(None).select(*COLUMNS).sort(*_KEY)


def _rows(one: ModelGrid, scale: Scale, known: Sequence[Learned], abroad: Abroad) -> Iterator[dict[str, object]]:
    """Every special source of a model, beside others."""
    there = [mine for mine in known if mine.name in one.sources]
    for mine in there:
        if not mine.is_special:
            continue
        row = one.sources.index(mine.name)
        for rival in (*at_home(one, mine, there), *abroad.of(one, scale.metric, mine)):
            found: dict[str, object] = {
                "model": one.model, "source": str(mine.source), "start": mine.source.start, "n_cells": len(mine.cells),
                "mixing": mine.mixing, "kl": mine.kl, "l2": mine.l2, "metric": scale.metric, "unit": scale.unit,
                "beside": rival.what, "tokens": round(mine.tokens),
                "beside_tokens": None if rival.tokens is None else round(rival.tokens),
                "about": "the sources" if rival.seeds_known else ONE_SEED,
            }  # fmt: skip
            for side, regimes in SIDES.items():
                targets = bools(regime_of(mine.cells, Cell(*target)) in regimes for target in one.targets)
                found |= _side(one.grid.delta[row], rival, targets, side)
            yield found | _harm(one, scale, row, rival)


def _side(delta: Floats, rival: Rival, targets: Bools, side: str) -> dict[str, object]:
    """Mean Δ on some targets, of it and of the other, and the difference with its interval."""
    kept, _ = _alike(delta, rival, targets)
    value = float(delta[kept].mean()) if kept.any() else float("nan")
    found = rival.more(kept)
    more, low, high = (float(end[0]) for end in (found.value, found.low, found.high))
    told = more == more
    return {
        side: value, f"{side}_beside": value - more, f"{side}_more": more,
        f"{side}_low": low if told else None, f"{side}_high": high if told else None,
    }  # fmt: skip


def _alike(delta: Floats, rival: Rival, targets: Bools) -> tuple[Bools, Floats]:
    """Which of some targets both were scored on, and Δ of the others there; where none is, all of its own, and none."""
    mine = targets & ~np.isnan(delta)
    both = mine & ~np.isnan(rival.deltas).any(axis=0)
    if len(rival.deltas) and both.any():
        return both, rival.deltas[:, both]
    return mine, rival.deltas[:0, mine]


def _harm(one: ModelGrid, scale: Scale, row: int, rival: Rival) -> dict[str, object]:
    """Share of the targets that show a loss that counts, %; by noise alone, and what truly loses as much at least."""
    delta = one.grid.delta[row]
    kept, others = _alike(delta, rival, np.ones(len(delta), bool))
    harm = np.array([scale.measure.harm.get(task, HARM_PP) for task, _ in one.targets])
    rate, *rates = [100 * float((some.round(9) <= harm[kept]).mean()) for some in (delta[kept], *others)]
    floor = noise_floor(one.grid, one.cells.seeds, harm)[row, kept]
    least = lower_bound(one.cells.sure[row, kept], bounding(one.null_scores[row, kept]))
    beside = {"harm_rate_beside": float(np.mean(rates)) if rates else None}
    return {"harm_rate": rate, "harm_floor": 100 * float(floor.mean()), "harm_least": 100 * least, **beside}


_KEY = ("model", "source", "metric", "beside")
_WORDS = {"own": "its own cells", "on_task": "other languages of its tasks", "off_task": "other tasks"}
COLUMNS = {
    **MODEL_WORDS,
    "source": "the cells that one adapter was trained on; of a stage with its name behind an @",
    "start": "what a stage begins with; null: it begins afresh",
    "n_cells": "how many cells, of a stage with those before it",
    "mixing": "order and weights of its cells in training; null: examples in one heap",
    "kl": "β of recipe.keep_near_base",
    "l2": "μ of it",
    "beside": f"what it is compared with: {SINGLE} (their mean); what else a stage stands beside; the same source by "
    f"the first recipe of the study; {AS_MUCH}, found on other items and seeds than it is measured on",
    "tokens": "tokens that training read, the prompts of `kl` among them (not those of adapters that an older release "
    "trained), mean over seeds; of a stage with that of what it begins with",
    "beside_tokens": f"those of the others together, of {AS_MUCH} their mean; null where the study lacks one",
    "about": "what is claimed: of the sources over seeds, or of these adapters where there is one seed, whose "
    "intervals do not have what another seed would change",
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ",
    **{
        f"{side}{end}": text.format(words)
        for side, words in _WORDS.items()
        for end, text in (
            ("", "mean Δ on {}, those that all compared were scored on; where the others have none, on all of them"),
            ("_beside", "mean Δ of the others on the same targets"),
            ("_more", "how much more that is than theirs"),
            ("_low", "lower end of its 95 % interval over items and seeds"),
            ("_high", "upper end"),
        )
    },
    "harm_rate": "share of targets that show a loss that counts as harm, %, of those that all compared were scored on",
    "harm_floor": "the rate that item and seed noise alone would show if it had no effect on them, %",
    "harm_least": "lower 95 % bound on the share of them whose true loss counts as harm, %",
    "harm_rate_beside": "the rate of the others",
}
TABLES = (
    Table[Study](
        "schedules",
        "One adapter of several cells beside one of each",
        "sources of several cells, stages, and those kept near the base, on every target",
        COLUMNS,
        schedules,
        how="One adapter of several cells, a stage, or one that was kept near the base, beside others on the same "
        "targets and items: by how much its mean Δ is more, with the 95 % interval. Tokens are those that were read in "
        "training, the prompts of `kl` among them: what has read twice as many may be better for that alone. The best "
        "single source is found on other items than it is measured on.",
    ),
)
