"""Raw text: bits per byte of texts that nobody learned from, before and after, as lm-eval rates a whole text.

A target's number is that of all its texts together: their log-likelihood over their bytes. So a text of more bytes
counts more: its value is weighed by them over their mean, and what is said of means of items holds of these. Less is
better. Such targets are no transfer, and in no other table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.frames import KEYS, MODEL_WORDS, SOURCE, SOURCE_WORDS, TARGET_WORDS, Table, need
from analysis.reading.grids import ModelGrid, Unit, model_grids
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.combinations.reported import beside_sources, claim, of_every_lambda, reported

WHO = ["model", *SOURCE]


def text_loss(study: Study) -> pl.DataFrame:
    """One row per model, subject and text; NotComputable where no text is a target."""
    need(bool(study.texts), "no raw text is among the targets")
    panels = [weighed(panel) for panel in study.texts]
    units, claims = study.units, pl.DataFrame(schema=dict.fromkeys([*WHO, "claim"], pl.String))
    if study.compositions is not None:
        chosen, every = reported(study), of_every_lambda(study).with_columns(pl.lit(None, pl.String).alias("protocol"))
        made = pl.concat([chosen, every])
        units, claims = beside_sources(study, made), made.select(*WHO, claim()).unique()
    base = {(one.model, one.task, one.language): -float(one.norm[0].mean(dtype=np.float64)) for one in panels}
    rows = [row for one in model_grids(panels, units, Unit(1.0)) for row in _rows(one, base)]
    need(bool(rows), "no adapter has been scored on a text that its base was scored on")
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table.join(claims, on=WHO, how="left").select(*COLUMNS).sort(KEYS)


def weighed(panel: Panel) -> Panel:
    """A panel whose means over texts are the bits per byte of all of them, with the sign that more is better."""
    assert panel.told is not None
    own = panel.norm[0].astype(np.float64)
    bytes_N = panel.told / (math.log(2) * own)
    norm, correct = ((values * bytes_N / bytes_N.mean()).astype(np.float32) for values in (panel.norm, panel.correct))
    return replace(panel, norm=norm, correct=correct)


def _rows(one: ModelGrid, base: dict[tuple[str, str, str], float]) -> Iterator[dict[str, object]]:
    for row, column in np.argwhere(one.there).tolist():
        target, delta = one.targets[column], float(one.grid.delta[row, column])
        before = base[one.model, *target]
        yield {
            "model": one.model,
            **dict(zip(("source_task", "source_language"), one.sources[row], strict=True)),
            **dict(zip(("target_task", "target_language"), target, strict=True)),
            "base": before,
            "adapter": before - delta,
            "difference": -delta,
            "low": -float(one.cells.high[row, column]),
            "high": -float(one.cells.low[row, column]),
            "n_items": int(one.grid.n_items[row, column]),
            "n_seeds": int(one.grid.n_seeds[row, column]),
        }


COLUMNS = {
    **MODEL_WORDS,
    **SOURCE_WORDS,
    **TARGET_WORDS,
    "claim": "of a composition: zero-shot, or few-shot where a target's own items chose weights; null: fixed, or a λ "
    "of a grid of which none is chosen here",
    "base": "bits per byte of the base, all texts together",
    "adapter": "bits per byte with the adapter, mean over seeds",
    "difference": "adapter less base: below 0 the texts are told better",
    "low": "lower end of its 95 % interval over texts and seeds",
    "high": "upper end",
    "n_items": "texts",
    "n_seeds": "seeds averaged",
}
TABLES = (
    Table[Study](
        "text_loss",
        "Raw text before and after",
        "texts that were held out of training",
        COLUMNS,
        text_loss,
        how="Bits per byte, less is better. A composition has its name in the place of the task, and in that of the "
        "language its λ, or the protocol that chose it: `source`; others choose none here, and every λ has a row. "
        "These targets are in no table of transfer.",
    ),
)
