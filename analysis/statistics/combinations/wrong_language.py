"""Answers in another language than was asked for, as a harm of its own: more of them than under the base, or fewer.

An item is 1 where its answer is taken for the target's language alone, by the trigrams of the study's own texts
(`study/languages.py`), and 0 where it is taken for another, for several, or for none. Differences are paired item by
item and claimed as those of accuracies are (`significance`), whatever the task's own metric says of the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.frames import Table, need
from analysis.reading.answers import told_apart
from analysis.reading.grids import model_grids
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.significance import COLUMNS as CLAIMED
from analysis.statistics.significance import significance
from study.languages import Languages
from study.store.store import Store

NONE = "no target is answered in words of the model's own, in a language whose texts the study has beside another's"


def wrong_language(study: Study) -> pl.DataFrame:
    """One row per cell whose answers are written in a known language; NotComputable where none is."""
    known = Languages(study.seen.trigrams)
    asked = [
        panel
        for panel in study.asked
        if not (panel.options > 0).any() and (panel.pred < 0).all() and panel.language in known.counts
    ]
    need(len(known.counts) > 1 and bool(asked), NONE)
    grids = model_grids(list(_panels(study, asked, known)), study.units, joint=study.joint)
    need(bool(grids), NONE)
    return significance(grids).select(*COLUMNS)


def _panels(study: Study, asked: list[Panel], known: Languages) -> Iterator[Panel]:
    """The panels with, in the place of an item's value, whether its answer is in the language."""
    units = pl.Series("unit", np.unique(np.concatenate([panel.units for panel in asked])))
    ours = study.units.filter(pl.col("unit").is_in(units.implode())).select("unit", "score_id")
    flags = told_apart(Store(study.origin), ours["score_id"].to_list(), known).join(ours, on="score_id")
    for panel in asked:
        row = pl.DataFrame({"unit": panel.units, "row": np.arange(len(panel.units))})
        column = pl.DataFrame({"doc_id": panel.docs, "column": np.arange(len(panel.docs))})
        here = flags.join(row, on="unit").join(column, on="doc_id")
        values = np.full((len(panel.units), len(panel.docs)), np.nan, np.float32)
        values[here["row"].to_numpy(), here["column"].to_numpy()] = here["in_language"].to_numpy().astype(np.float32)
        if not np.isnan(values[0]).all():
            yield replace(panel, metric="", correct=values, norm=values)


COLUMNS = {
    name: words.replace("headline Δ, pp", "change of the share of answers in the target's language, pp")
    for name, words in CLAIMED.items()
}
TABLES = (
    Table[Study](
        "wrong_language",
        "Answers in another language",
        "texts of the answers, item by item, on targets that are answered in words",
        COLUMNS,
        wrong_language,
        how="Worse: fewer answers than under the base are in the language that was asked for, by a guess from the "
        "study's own texts. It is a harm of its own, beside what the answers are worth.",
    ),
)
