"""A document of a group of tasks: it knows which of them asks and judges it, and is a plain one to all others."""

from __future__ import annotations

from study.data.harness import Document, Task


class Doc(dict[str, object]):
    """A document of the `number`-th task of a group. Its hash and what is written of it are those of a plain one."""

    def __init__(self, document: Document, task: Task, number: int) -> None:
        super().__init__(document)
        self.task, self.number = task, number


def asker(task: Task, document: Document) -> Task:
    """The task that asks a document: of a group one of its own."""
    return document.task if isinstance(document, Doc) else task
