"""What we ask of lm-eval's tasks and instances, as types: lm-eval states none that a checker could read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Document = Mapping[str, object]
Aggregation = Callable[[Sequence[object]], float]


class Instance(Protocol):
    """One request of a document. `args` are its prompt and its option, or how the answer is to be generated."""

    doc: Document
    doc_id: int
    idx: int
    request_type: str
    repeats: int | None
    resps: list[object]
    filtered_resps: dict[str, object]

    @property
    def args(self) -> tuple[Any, ...]: ...


class Task(Protocol):
    """A task of one language, its data loaded."""

    OUTPUT_TYPE: str
    task_name: str
    multiple_input: int
    _instances: list[Instance]

    @property
    def eval_docs(self) -> Sequence[Document]: ...

    def get_config(self, key: str) -> Any: ...

    def doc_to_text(self, doc: Document) -> str | int: ...

    def doc_to_choice(self, doc: Document) -> Sequence[str]: ...

    def doc_to_target(self, doc: Document) -> str | int | list[int] | list[str]: ...

    def apply_filters(self) -> object: ...

    def process_results(self, doc: Document, results: list[object]) -> Mapping[str, object]: ...

    def aggregation(self) -> Mapping[str, Aggregation]: ...
