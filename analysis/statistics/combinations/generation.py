"""What answers are like where they are written: ROUGE, their language and script, empty ones, and how long they are.

The known failure of zero-shot generation is an answer in English. `language_share` is the share of answers that are
most likely in the language that was asked for, by the trigrams of the study's own texts (`study/languages.py`);
`language_known` says of how many right answers the same guess is right, which nobody can pass by much. `script`, where
the config asks for that metric, tells scripts apart alone.

One row per base, source and composition as they are reported, seeds averaged. On each target two are to be seen beside
the others: the first sentence of the document as its summary (`lead`), which a summary should beat, and what learned
the target's own cell (`ceiling`), which nothing zero-shot is expected to reach.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from analysis.frames import MODEL_WORDS, SOURCE, TARGET, TARGET_WORDS, Table, need
from analysis.reading.answers import answers
from analysis.reading.study import Study
from analysis.statistics.combinations.reported import claim, reported
from study.languages import Languages
from study.store.store import Store

METRICS = ("rouge1", "rouge2", "rougeL", "script")
WHO = ["model", "subject", "role", *TARGET]
LEAD = "first sentence"


def generation(study: Study) -> pl.DataFrame:
    """One row per subject and target that is answered in words; NotComputable where none is."""
    written = {(p.model, p.task, p.language) for p in study.asked if not (p.options > 0).any() and (p.pred < 0).all()}
    need(bool(written), "no target is answered in words of the model's own")
    places = pl.DataFrame(sorted(written), schema=dict.fromkeys(["model", *TARGET], pl.String), orient="row")
    units = _subjects(study).join(places, on=["model", *TARGET], how="semi")
    known = Languages(study.seen.trigrams)
    texts = answers(Store(study.origin), units["score_id"].to_list(), known)
    need(texts.height > 0, "no target is answered in words of the model's own")
    values = study.scores.filter(pl.col("metric").is_in(METRICS)).pivot(on="metric", index="unit", values="value")
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in METRICS if name not in values.columns]
    rows = units.join(texts, on="score_id", how="inner").join(values.with_columns(lacking), on="unit", how="left")
    n, told = pl.col("n").sum(), pl.col("target_language").is_in(list(known.counts) if len(known.counts) > 1 else [])
    table = rows.group_by(*WHO, "claim").agg(
        *((100 * pl.col(name).mean()).alias(name) for name in METRICS),
        pl.when(told.first()).then(100 * pl.col("in_language").sum() / n).alias("language_share"),
        (100 * pl.col("empty").sum() / n).alias("empty"),
        pl.when(pl.col("told").sum() == n).then(100 * pl.col("cut_off").sum() / n).alias("cut_off"),
        (pl.col("characters").sum() / n).alias("length"),
        pl.len().cast(pl.Int64).alias("n_seeds"),
    )
    whole = pl.concat([table, pl.DataFrame(list(_leads(study, places)), schema=table.schema)])
    return _with_seen(study, whole).select(*COLUMNS).sort(*TARGET, "model", "subject")


def _subjects(study: Study) -> pl.DataFrame:
    """`unit, score_id, model, subject, role, target…, claim` of what is reported."""
    columns = ["unit", "score_id", *WHO, "claim"]
    plain = study.units.filter(pl.col("kind").is_in(["base", "trained"]))
    name = pl.concat_str(SOURCE, separator="/").fill_null("base").alias("subject")
    own = pl.all_horizontal(pl.col(end) == pl.col(at) for end, at in zip(SOURCE, TARGET, strict=True))
    learned = pl.when(own).then(pl.lit("ceiling")).otherwise(pl.lit("source"))
    role = pl.when(pl.col("kind") == "base").then(pl.lit("base")).otherwise(learned).alias("role")
    at = pl.concat_str("source_task", pl.lit(" ("), "source_language", pl.lit(")"))
    made = pl.when(pl.col("source_language") == "").then("source_task").otherwise(at).alias("subject")
    none = pl.lit(None, pl.String).alias("claim")
    rows = [plain.with_columns(name, role, none)]
    if study.compositions is not None:
        rows.append(reported(study).with_columns(made, pl.lit("composition").alias("role"), claim()))
    return pl.concat([part.select(columns) for part in rows])


def _leads(study: Study, places: pl.DataFrame) -> Iterator[dict[str, object]]:
    """Rows of first sentences, which are no model's and so stand beside each."""
    for model, task, language in places.iter_rows():
        seen = study.seen.targets.get(f"{task}/{language}")
        if seen is not None and seen.lead:
            share = seen.lead_language
            yield {
                "model": model, "subject": LEAD, "role": "lead", "target_task": task, "target_language": language,
                "claim": None, **{name: _points(seen.lead.get(name)) for name in METRICS},
                "language_share": _points(share), "empty": None, "cut_off": None, "length": seen.lead_length,
                "n_seeds": None,
            }  # fmt: skip


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _with_seen(study: Study, table: pl.DataFrame) -> pl.DataFrame:
    """The table with `language_known` and `cut_prompts`, where planning saw them."""
    seen = study.seen
    names = [(task, language, model) for model, task, language in table.select("model", *TARGET).iter_rows()]
    targets = [seen.targets.get(f"{task}/{language}") for task, language, _ in names]
    known = [None if one is None else _points(one.recognised) for one in targets]
    cut = [seen.cut.get(model, {}).get(f"{task}/{language}", 0) for task, language, model in names]
    told = [n if target is not None else None for n, target in zip(cut, targets, strict=True)]
    return table.with_columns(pl.Series("language_known", known, pl.Float64), pl.Series("cut_prompts", told, pl.Int64))


COLUMNS = {
    **TARGET_WORDS,
    **MODEL_WORDS,
    "subject": "the base, a source, a composition (with its λ, or the protocol that chose it), or the first sentence",
    "role": "base, source, composition; ceiling: the source that learned the target's own cell; lead: no model, but "
    "the first sentence of each document as the answer",
    "claim": "of a composition: zero-shot, or few-shot where a target's own items chose λ or weights; null: fixed",
    "rouge1": "ROUGE-1, points; null where the config does not ask for it",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "language_share": "answers that are most likely in the target's language, by the trigrams of the study's texts, %; "
    "one without a known trigram is in none; null where the study has texts of no other language",
    "language_known": "right answers of the target that the same guess takes for its language, %",
    "script": "letters in the script of what the answer should be, %",
    "empty": "answers without a character, %",
    "cut_off": "answers that ended at the limit of tokens, without an end of their own, %; null where that is not told",
    "length": "characters of an answer, mean",
    "cut_prompts": "prompts that the model does not read whole, for they are too long; null where that was not counted",
    "n_seeds": "seeds averaged",
}
TABLES = (
    Table[Study](
        "generation",
        "What the answers are like",
        "texts of the answers, on targets that are answered in words",
        COLUMNS,
        generation,
        how="An answer in another language than it was asked in is the known failure of zero-shot generation: "
        "language_share counts those that are not, and language_known says how many of the right answers are counted "
        "so by the same guess. A summary should be better than the first sentence (role lead); what "
        "learned the target's own cell is the ceiling. ROUGE is of words that are not stemmed, as XL-Sum's is where it "
        "does not stem; in Chinese, Japanese, Thai, Lao, Khmer and Burmese each character counts as a word, so that it "
        "compares with no other's.",
    ),
)
