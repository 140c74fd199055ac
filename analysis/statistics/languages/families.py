"""Who gives and who takes, by family of languages: the mean of its languages' scores (arXiv 2511.13368)."""

from __future__ import annotations

import polars as pl

from analysis.frames import Table, need
from analysis.reading.study import Study
from analysis.statistics.languages.uriel import table_code
from analysis.statistics.roles import language_roles

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


def family_roles(transfer: pl.DataFrame) -> pl.DataFrame:
    """`family, donor, recipient, n_languages`; NotComputable where every language is a family of its own."""
    roles = language_roles(transfer)
    families = [FAMILY_OF.get(table_code(name), OTHER) for name in roles["language"]]
    known = [family for family in families if family != OTHER]
    need(len(set(known)) < len(known), "no two of its languages are known to be of one family")
    named = roles.with_columns(pl.Series("family", families))
    scores = [pl.col(role).mean() for role in ("donor", "recipient")]
    table = named.group_by("family").agg(*scores, pl.len().cast(pl.Int64).alias("n_languages"))
    return table.sort("donor", "family", descending=[True, False], nulls_last=True)


TABLES = (
    Table[Study](
        "family_roles",
        "Who gives and who takes: families of languages",
        "MT-CL rows",
        {
            "family": "family of languages; other: of none that is known here",
            "donor": "mean of its languages' donor scores, pp",
            "recipient": "mean of its languages' recipient scores, pp",
            "n_languages": "languages of the study in it",
        },
        lambda study: family_roles(study.transfer),
        how="The language scores averaged within families, as the reference study reports them.",
    ),
)
