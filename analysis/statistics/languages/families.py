"""Who gives and who takes, by family of languages: the mean of its languages' scores (arXiv 2511.13368).

Scores and intervals are made as those of languages are (`analysis/statistics/roles.py`), in each model of the languages
that it has.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.frames import Table, need, transfer_rows
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.languages.uriel import table_code
from analysis.statistics.roles import ROLE_WORDS, joined, scores

OTHER = "other"
FAMILIES = {
    "Romance": ("fr", "es", "pt", "it", "ro", "ca", "gl"),
    "Germanic": ("de", "en", "nl", "sv", "da", "no", "nb", "nn", "is"),
    "Indic": ("hi", "bn", "ur", "mr", "gu", "pa", "ne", "si", "as", "or"),
    "Slavic": ("ru", "pl", "cs", "sk", "uk", "bg", "sr", "hr", "sl"),
    "Chinese": ("zh", "yue", "wuu"),
    "Arabic": ("ar",),
    "Indonesian": ("id", "ms", "jv", "su"),
    "Turkic": ("tr", "az", "kk", "uz", "tt", "ky"),
    "Dravidian": ("ta", "te", "kn", "ml"),
}
FAMILY_OF = {code: family for family, codes in FAMILIES.items() for code in codes}


def family_roles(transfer: pl.DataFrame, grids: Sequence[ModelGrid] = ()) -> pl.DataFrame:
    """`family`, the columns of `language_roles`, `n_languages`; NotComputable where no two are of one family."""
    rows = transfer_rows(transfer, "MT-CL")
    family = {
        name: FAMILY_OF.get(table_code(name), OTHER)
        for end in ("source", "target")
        for name in sorted(set(rows[f"{end}_language"]))
    }
    known = [one for one in family.values() if one != OTHER]
    need(len(set(known)) < len(known), "no two of its languages are known to be of one family")
    count = pl.DataFrame({"family": list(family.values())}).group_by("family").len("n_languages")
    table = joined(scores(rows, grids, "language", family), "family").join(count, on="family", how="left")
    return table.with_columns(pl.col("n_languages").cast(pl.Int64)).select(*COLUMNS)


COLUMNS = {
    "family": "family of languages; other: of none that is known here",
    **ROLE_WORDS,
    "donor": "mean over models of the mean of its languages' donor scores, pp",
    "recipient": "mean over models of the mean of its languages' recipient scores, pp",
    "n_languages": "languages of the study in it",
}
TABLES = (
    Table[Study](
        "family_roles",
        "Who gives and who takes: families of languages",
        "MT-CL rows",
        COLUMNS,
        lambda study: family_roles(study.singles.transfer, study.singles.grids),
        how="The language scores averaged within families, as the reference study reports them, with 95 % intervals: "
        "families whose intervals overlap are not ranked.",
    ),
)
