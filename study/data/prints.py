"""What an identity of data is made from: a document's hash, what its scores depend on, values as JSON can hold them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence

from study.cells import Cell
from study.data.group.document import asker
from study.data.group.task import GroupTask
from study.data.harness import Document, Instance, Task
from study.errors import TaskError
from study.identity import digest

_ACCURACIES = {"acc", "acc_norm", "exact_match"}


def doc_hash(doc: object) -> str:
    """Hash an item's content as the `doc_hash` of lm-eval's sample logs does."""
    from lm_eval.utils import handle_non_serializable, hash_string  # slow to import, and few need it

    return str(hash_string(json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)))


def beside(task: Task, doc: Document) -> list[object]:
    """Pick what a document's scores depend on beside its requests."""
    task = asker(task, doc)
    if callable(task.config.process_results):  # the task's own code may read any of its fields
        return [task.doc_to_target(doc), doc_hash(doc)]
    return [task.doc_to_target(doc), task.doc_to_text(doc) if task.multiple_input else None]


def judged_by(task: Task, metrics: Sequence[str]) -> object:
    """Pick what a task's answers are judged by; `metrics` are those that the config names."""
    keys = ("metric_list", "filter_list", "process_results", "output_type", "repeats")
    stated: dict[str, object] = {"metric": list(metrics)} if metrics else {}
    if not metrics and task.OUTPUT_TYPE == "multiple_choice" and not _ACCURACIES.intersection(task.aggregation()):
        stated = {"counts": "what the task computes"}  # and not, as before, whether the likeliest option is right
    if isinstance(task, GroupTask):
        return {"group": plain(task.stated), "tasks": [judged_by(one, ()) for one in task.members], **stated}
    return plain({key: task.get_config(key) for key in keys} | stated)


def fingerprint(cell: Cell, task: Task, instances: Sequence[Instance], metrics: Sequence[str]) -> str:
    """Digest what decides a target's scores beside the model: requests, gold answers, metrics. Raises TaskError."""
    try:
        requests = [[i.doc_id, i.request_type, plain(i.args), plain(beside(task, i.doc))] for i in instances]
        return digest({"cell": str(cell), "requests": requests, "settings": judged_by(task, metrics)})
    except TaskError:
        raise
    except Exception as error:  # templates meet the data here, and data may hold what has no canonical form
        raise TaskError(f"{cell}: its items have no identity: {type(error).__name__}: {error}") from error


def plain(value: object) -> object:
    """Replace the functions in a value by their source, so that a changed metric changes the fingerprint."""
    if callable(value):
        try:
            return {"function": inspect.getsource(value)}
        except (OSError, TypeError) as error:
            raise TaskError(f"the source of {value!r} cannot be read, so its results have no identity") from error
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.item() if hasattr(value, "item") else value
