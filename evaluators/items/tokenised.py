"""A target's requests as an Arrow table, a row per document: built once in a study, read by every process that scores.

It holds what of a document's result no adapter changes, and token ids. Of the task itself a process still needs its
metrics and, for them, its documents. Invariant: a table is used only with the very documents it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
from lm_eval.api.instance import Instance

from evaluators.forward.rows import Request
from evaluators.items.encoder import Encoder
from evaluators.items.item import Item, check_supported, items_of
from evaluators.items.prompts import COLUMNS, asked
from study.cells import Cell
from study.data.harness import Task
from study.data.prints import doc_hash
from study.data.tasks import TaskLibrary
from study.store import schema

TOKENS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    {
        "doc_id": pa.int64(),
        "doc_hash": pa.string(),
        "gold": pa.int32(),
        "option_chars": pa.list_(pa.int32()),
        "repeats": pa.int32(),
        "n_requests": pa.int32(),
        "texts": pa.list_(pa.string()),  # arguments of each request as JSON, where the model writes
        "tokens": pa.list_(TOKENS),  # what is read to score the requests: one text each, or the parts of a long one
        "n_scored": pa.list_(pa.int32()),  # of each text
        "request": pa.list_(pa.int32()),  # which of the document's requests each text belongs to
        **COLUMNS,  # what people read of it
    }
)
LONGEST_WRITING = b"longest_writing"


def tokenised(library: TaskLibrary, encoder: Encoder, cell: Cell) -> tuple[list[Item], pa.Table]:
    """Build and tokenise a cell's requests: its documents, and the table. Raises TaskError."""
    task: Task = library.load(cell)
    check_supported(task)
    instances = library.build_requests(cell, encoder.chat(library.scoring(cell)))
    items = items_of(task, instances)
    longest = 0
    parts: list[list[Request]] = [[] for _ in instances]
    if task.OUTPUT_TYPE == "generate_until":
        longest = encoder.longest_writing(instances)
    elif task.OUTPUT_TYPE == "loglikelihood_rolling":
        parts = encoder.windows(instances)
    else:
        parts = [[request] for request in encoder.requests(instances)]
    table = pa.Table.from_pylist(_rows(task, items, parts), SCHEMA)
    return items, table.replace_schema_metadata({LONGEST_WRITING: str(longest)})


def _rows(task: Task, items: Sequence[Item], parts: Sequence[Sequence[Request]]) -> list[dict[str, object]]:
    writes = task.OUTPUT_TYPE == "generate_until"
    return [_row(item, [parts[n] for n in item.requests], writes) | asked(task, item) for item in items]


def _row(item: Item, parts: Sequence[Sequence[Request]], writes: bool) -> dict[str, object]:
    return {
        "doc_id": item.doc_id,
        "doc_hash": item.doc_hash,
        "gold": item.gold,
        "option_chars": item.option_chars,
        "repeats": item.instances[0].repeats or 1,
        "n_requests": len(item.instances),
        "texts": [json.dumps(instance.args) for instance in item.instances] if writes else [],
        "tokens": [part.tokens for own in parts for part in own],
        "n_scored": [part.n_scored for own in parts for part in own],
        "request": [number for number, own in enumerate(parts) for _ in own],
    }


def asked_for(name: str, pairs: Sequence[tuple[str, str]]) -> list[Instance]:
    """What lm-eval would ask of prompts, each with the one text that is rated behind it."""
    return [Instance("loglikelihood", {}, pair, number, (name, number, 1)) for number, pair in enumerate(pairs)]


def items_from(task: Task, table: pa.Table) -> list[Item] | None:
    """The documents of a target from its table; None where this process has other ones.

    A task may shuffle or draw its documents anew in each process.
    """
    documents, items, first = task.eval_docs, [], 0
    for row in table.drop_columns(["tokens", "n_scored", "request", *COLUMNS]).to_pylist():
        if row["doc_id"] >= len(documents) or doc_hash(doc := documents[row["doc_id"]]) != row["doc_hash"]:
            return None
        texts = [tuple(json.loads(text)) for text in row["texts"]] or [()] * row["n_requests"]
        about = (task.task_name, row["doc_id"], row["repeats"])
        instances = tuple(Instance(task.OUTPUT_TYPE, doc, text, number, about) for number, text in enumerate(texts))
        chars = tuple(row["option_chars"])
        items.append(Item(row["doc_id"], row["doc_hash"], row["gold"], chars, doc, instances, first))
        first += row["n_requests"]
    task._instances = [instance for item in items for instance in item.instances]  # what lm-eval's filters work on
    return items


def parts_from(table: pa.Table) -> list[list[Request]]:
    """The texts to read for each request, in the requests' order."""
    parts: list[list[Request]] = []
    for count, texts, scored, owner in zip(
        *(table.column(name).to_pylist() for name in ("n_requests", "tokens", "n_scored", "request")), strict=True
    ):
        own: list[list[Request]] = [[] for _ in range(count)]
        for tokens, n_scored, number in zip(texts, scored, owner, strict=True):
            own[number].append(Request(tuple(tokens), n_scored))
        parts += own
    return parts


def questions_in(table: pa.Table) -> pa.Table:
    """What the items ask, as study.store.schema.PROMPTS."""
    return table.select(schema.PROMPTS.names).cast(schema.PROMPTS)


def longest_writing(table: pa.Table) -> int:
    """Tokens of the longest prompt and answer of a task whose model writes."""
    return int(table.schema.metadata[LONGEST_WRITING])
