"""What is right of a document, and values as JSON can hold them: what an identity of data is made from."""

from __future__ import annotations

import inspect

from study.data.example import doc_hash
from study.data.harness import Document, Task
from study.errors import TaskError


def answer(task: Task, doc: Document) -> str:
    """What is right of a document; nothing where its task cannot say."""
    try:
        return str(task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc))
    except Exception:  # noqa: BLE001 - a template meets the data here: anything can be raised
        return ""


def gold(task: Task, doc: Document) -> list[object]:
    """Pick what a document's scores depend on beside its requests."""
    if callable(task.config.process_results):  # the task's own code may read any of its fields
        return [task.doc_to_target(doc), doc_hash(doc)]
    return [task.doc_to_target(doc), task.doc_to_text(doc) if task.multiple_input else None]


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
