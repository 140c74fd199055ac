"""What answers are like where they are written: ROUGE, the script they are in, empty ones, and how long they are.

The known failure of zero-shot generation is an answer in English: `script` is the share of letters in the script of
what the answer should be, where the config asks for that metric; languages that share a script are not told apart. One
row per base, source and composition as they are reported, seeds averaged.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import MODEL_WORDS, SOURCE, TARGET, TARGET_WORDS, Table, need
from analysis.reading.answers import answers
from analysis.reading.study import Study
from analysis.statistics.combinations.reported import claim, composed_of, reported
from study.store.store import Store

METRICS = ("rouge1", "rouge2", "rougeL", "script")
WHO = ["model", "subject", *TARGET]


def generation(study: Study) -> pl.DataFrame:
    """One row per subject and target that is answered in words; NotComputable where none is."""
    composed_of(study)
    written = {(p.model, p.task, p.language) for p in study.asked if not (p.options > 0).any() and (p.pred < 0).all()}
    need(bool(written), "no target is answered in words of the model's own")
    places = pl.DataFrame(sorted(written), schema=dict.fromkeys(["model", *TARGET], pl.String), orient="row")
    units = _subjects(study).join(places, on=["model", *TARGET], how="semi")
    texts = answers(Store(study.origin), units["score_id"].to_list())
    need(texts.height > 0, "no target is answered in words of the model's own")
    values = study.scores.filter(pl.col("metric").is_in(METRICS)).pivot(on="metric", index="unit", values="value")
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in METRICS if name not in values.columns]
    rows = units.join(texts, on="score_id", how="inner").join(values.with_columns(lacking), on="unit", how="left")
    n = pl.col("n").sum()
    table = rows.group_by(*WHO, "claim").agg(
        *((100 * pl.col(name).mean()).alias(name) for name in METRICS),
        (100 * pl.col("empty").sum() / n).alias("empty"),
        pl.when(pl.col("told").sum() == n).then(100 * pl.col("cut_off").sum() / n).alias("cut_off"),
        (pl.col("characters").sum() / n).alias("length"),
        pl.len().cast(pl.Int64).alias("n_seeds"),
    )
    return table.select(*COLUMNS).sort(*TARGET, "model", "subject")


def _subjects(study: Study) -> pl.DataFrame:
    """`unit, score_id, model, subject, target…, claim` of what is reported."""
    columns = ["unit", "score_id", *WHO, "claim"]
    plain = study.units.filter(pl.col("kind").is_in(["base", "trained"]))
    name = pl.concat_str(SOURCE, separator="/").fill_null("base").alias("subject")
    at = pl.concat_str("source_task", pl.lit(" ("), "source_language", pl.lit(")"))
    made = pl.when(pl.col("source_language") == "").then("source_task").otherwise(at).alias("subject")
    none = pl.lit(None, pl.String).alias("claim")
    rows = (plain.with_columns(name, none), reported(study).with_columns(made, claim()))
    return pl.concat([part.select(columns) for part in rows])


COLUMNS = {
    **TARGET_WORDS,
    **MODEL_WORDS,
    "subject": "the base, a source, or a composition (with its λ, or the protocol that chose it)",
    "claim": "of a composition: zero-shot, or few-shot where a target's own items chose λ or weights; null: fixed",
    "rouge1": "ROUGE-1, points; null where the config does not ask for it",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "script": "letters in the script of what the answer should be, %",
    "empty": "answers without a character, %",
    "cut_off": "answers that ended at the limit of tokens, without an end of their own, %; null where that is not told",
    "length": "characters of an answer, mean",
    "n_seeds": "seeds averaged",
}
TABLES = (
    Table[Study](
        "generation",
        "What the answers are like",
        "texts of studies with compositions, on targets that are answered in words",
        COLUMNS,
        generation,
    ),
)
