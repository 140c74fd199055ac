"""Parquet schemas of the results, with units in field metadata and a version in schema metadata.

`items` has one row per (adapter, target item), `scores` one per (adapter, target, metric); both carry the same
keys, so either can be read alone. `prompts` has what the items of a target ask, once. `grid` is what the study's
current config asks for, so that readers tell current rows from those of an older config without loading a task: a score
of each of its subjects on each of its targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from study.store.version import SCHEMA_VERSION


def _field(name: str, kind: pa.DataType, what: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": what})


SUBJECT_ID = _field("subject_id", pa.string(), "what is scored: adapter_id, or the base model's identity", False)
TARGET_ID = _field("target_id", pa.string(), "identity of the target's data, task definition and scoring recipe", False)

SUBJECT: tuple[pa.Field, ...] = (
    _field("adapter_id", pa.string(), "identity of the adapter; null for the base model"),
    _field("model", pa.string(), "model name", False),
    _field("model_params", pa.int64(), "parameters of the base model, count", False),
    _field(
        "source_task", pa.string(), "task trained on; null for the base model and an adapter without a known source"
    ),
    _field("source_language", pa.string(), "language trained on; null likewise"),
    _field("source_size", pa.int64(), "examples in a sample that was trained on, count; null where that was all rows"),
    _field("seed", pa.int64(), "training seed; null for the base model and adapters trained elsewhere"),
    _field("recipe", pa.string(), "name of the recipe it was trained by first; null where the study had but one"),
    _field("epoch", pa.int64(), "the epoch of training whose weights it has; null for those that were kept"),
)
TARGET: tuple[pa.Field, ...] = (
    _field("target_task", pa.string(), "task scored on", False),
    _field("target_language", pa.string(), "language scored on", False),
)
KEYS = (
    _field("score_id", pa.string(), "identity of the score: of its subject and its target", False),
    *SUBJECT,
    *TARGET,
)


def _schema(kind: str, *fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"kind": kind, "version": SCHEMA_VERSION})


ITEMS = _schema(
    "items",
    *KEYS,
    _field("doc_id", pa.int64(), "index of the item in the target's split", False),
    _field("doc_hash", pa.string(), "hash of the item's content", False),
    _field(
        "subtask", pa.string(), "lm-eval task that the item is of, where the target is a group of them; null elsewhere"
    ),
    _field("gold", pa.int32(), "index of the right option; -1 where the task has none", False),
    _field(
        "pred", pa.int32(), "index of the option with the highest log-likelihood; -1 where there are no options", False
    ),
    _field("pred_norm", pa.int32(), "the same after division by the option's length in characters", False),
    _field("correct", pa.float32(), "the task's accuracy for this item, 0 to 1; null where the task defines none"),
    _field("correct_norm", pa.float32(), "its length-normalised accuracy, 0 to 1; null where the task defines none"),
    _field(
        "graded",
        pa.float32(),
        "where the task has no accuracy, its first metric that is a number for each item (ROUGE, F1, bits per byte), "
        "times -1 where less is better; null elsewhere",
    ),
    _field("graded_metric", pa.string(), "name of that metric"),
    _field(
        "metrics",
        pa.list_(pa.struct([("name", pa.string()), ("value", pa.float32())])),
        "the metrics that the config's `tasks[].metric` names, as far as one item has them; of perplexities minus the "
        "bits. Null where it names none",
    ),
    _field("loglikelihoods", pa.list_(pa.float32()), "log-likelihood of each option, or of the text, nats", False),
    _field("option_chars", pa.list_(pa.int32()), "length of each option, or of the text, characters", False),
    _field("generation", pa.string(), "what the model wrote; null where it writes nothing"),
    _field(
        "cut_off",
        pa.bool_(),
        "whether that ended at the limit of tokens, without an end of its own; null elsewhere, and before it was told",
    ),
    _field("written_at", pa.timestamp("us", tz="UTC"), "when the row was made", False),
)

SCORES = _schema(
    "scores",
    *KEYS,
    SUBJECT_ID,
    TARGET_ID,
    _field("metric", pa.string(), "name of the lm-eval metric", False),
    _field("value", pa.float64(), "the metric over the target's items, as lm-eval aggregates it", False),
    _field("stderr", pa.float64(), "its standard error as lm-eval computes it; null where undefined"),
    _field("n_items", pa.int64(), "items scored, count", False),
    _field("higher_is_better", pa.bool_(), "whether more of the metric is better; null where the task does not say"),
    _field("headline", pa.bool_(), "whether it speaks for the target; null in rows made before that was told"),
    _field(
        "replicates",
        pa.list_(pa.float32()),
        "the metric in draws of the items, the same draws for every subject, where a metric that counts has no value "
        "for one item; null elsewhere",
    ),
    _field("seconds", pa.float64(), "wall-clock time of this unit, s", False),
    _field("tokens", pa.int64(), "tokens the model read for this unit, count", False),
    _field("device", pa.string(), "device the model ran on", False),
    _field("engine", pa.string(), "scoring path and versions", False),
    _field(
        "base_compared",
        pa.bool_(),
        "whether the base was compared with what was loaded; null before that was done, false for what may be wrong so",
    ),
    _field(
        "day_fixed",
        pa.bool_(),
        "whether a chat template that asks for the date is told the same one on every day; null before that was done",
    ),
    _field("written_at", pa.timestamp("us", tz="UTC"), "when the row was made", False),
)

PROMPTS = _schema(
    "prompts",
    _field("doc_id", pa.int64(), "index of the item in the target's split", False),
    _field("doc_hash", pa.string(), "hash of the item's content", False),
    _field("prompt", pa.string(), "what is read before an option, or before the model writes", False),
    _field("options", pa.list_(pa.string()), "what is rated behind it, in order; none where the model writes", False),
    _field("reference", pa.string(), "the right answer where the model writes; null elsewhere, and where it is hidden"),
)

SUBJECTS = _schema(
    "subjects",
    SUBJECT_ID,
    *SUBJECT,
    _field("model_size", pa.float64(), "size of the model as the config states or counts it, billions of parameters"),
    _field("model_family", pa.string(), "model family"),
)
TARGETS = _schema("targets", TARGET_ID, *TARGET)
COMPOSITIONS = _schema(
    "compositions",
    _field("adapter_id", pa.string(), "the composed adapter; one may stand under several names", False),
    _field("name", pa.string(), "what results call it, e.g. add[de]", False),
    _field("model", pa.string(), "model name", False),
    _field("seed", pa.int64(), "seed of its trained parts; null where there is none"),
    _field("method", pa.string(), "the config's word: sum, svd, adamergex, layers, ties, ...", False),
    _field("strength", pa.float64(), "lambda; null where no weight names it"),
    _field(
        "protocol", pa.string(), "on what lambda is chosen: source, other_languages, target; null where it is fixed"
    ),
    _field("language", pa.string(), "what {language} stands for in it; null where it is not for one"),
    _field(
        "terms",
        pa.list_(pa.struct([("subject_id", pa.string()), ("source", pa.string()), ("weight", pa.float64())])),
        "its parts, each with its cells or its name, and its weight (the mean over layers where these differ)",
        False,
    ),
    _field("recipe", pa.string(), "name of the recipe of its trained parts; null where there are none, or but one"),
    _field("family", pa.string(), "what its name comes from: the same for all languages that it is made for"),
)
RECIPES = _schema(
    "recipes",
    _field("adapter_id", pa.string(), "the adapter; one that two recipes come to stands there for both", False),
    _field("recipe", pa.string(), "name of the recipe", False),
)
STARTS = _schema(
    "starts",
    _field("adapter_id", pa.string(), "an adapter that is trained on from another one", False),
    _field("model", pa.string(), "model name", False),
    _field("start_id", pa.string(), "the other one", False),
)
GRID = _schema(
    "grid",
    _field("subjects", pa.list_(pa.struct(list(SUBJECTS))), "what is scored: the base models and all adapters", False),
    _field("targets", pa.list_(pa.struct(list(TARGETS))), "on what each of them is scored", False),
    _field("compositions", pa.list_(pa.struct(list(COMPOSITIONS))), "which of the subjects are put together of others"),
    _field("held_out", pa.list_(pa.string()), "target_ids of items on which a lambda is chosen, and nothing measured"),
    _field("recipes", pa.list_(pa.struct(list(RECIPES))), "by which of several recipes adapters are trained"),
    _field("starts", pa.list_(pa.struct(list(STARTS))), "which adapters begin with others"),
)


def table(schema: pa.Schema, rows: list[dict[str, object]]) -> pa.Table:
    """Make an Arrow table of rows; a missing, extra or ill-typed column raises ValueError."""
    names = set(schema.names)
    for row in rows:
        if row.keys() != names:
            raise ValueError(f"row has columns {sorted(row.keys() ^ names)} too many or too few")
    result = pa.Table.from_pylist(rows, schema=schema)
    result.validate(full=True)
    for field in schema:
        if not field.nullable and result.column(field.name).null_count:
            raise ValueError(f"column {field.name} has a null")
    return result


def empty(schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """Make a table without rows of some columns."""
    return pa.schema([schema.field(name) for name in names]).empty_table()


class OtherVersion(ValueError):
    """A file of a schema version that this program does not read."""


def check_version(schema: pa.Schema, where: str) -> None:
    """Refuse a file of another schema version, saying what to do."""
    found = (schema.metadata or {}).get(b"version", b"none").decode()
    if found != SCHEMA_VERSION:
        raise OtherVersion(
            f"{where} has schema version {found}, this program reads {SCHEMA_VERSION}: use the release that wrote it, "
            "or move the store's results/ away: the next run scores its adapters again"
        )
