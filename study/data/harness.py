"""What we ask of lm-eval's tasks and instances, as types: lm-eval states none that a checker could read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

Document = Mapping[str, object]
Documents = Sequence[Document]
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


class Shots(Protocol):
    """The keys of `fewshot_config` that we read."""

    gen_prefix: str | None


class Settings(Protocol):
    """The keys of a task's YAML file that we read."""

    dataset_kwargs: Mapping[str, object] | None
    training_split: str | None
    fewshot_split: str | None
    fewshot_config: Shots
    doc_to_text: object
    doc_to_target: object
    doc_to_choice: object
    target_delimiter: str
    process_docs: Callable[[Documents], Documents] | None
    process_results: object


class Task(Protocol):
    """A task of one language, its data loaded. Templates given to `doc_to_…` replace its own."""

    OUTPUT_TYPE: str
    task_name: str
    config: Settings
    dataset: Mapping[str, Documents]
    features: Sequence[str]
    multiple_input: int
    multiple_target: int
    _instances: list[Instance]

    @property
    def eval_docs(self) -> Documents: ...

    @property
    def instances(self) -> list[Instance]: ...

    def get_config(self, key: str) -> Any: ...

    def set_config(self, key: str, value: object) -> None: ...

    def fewshot_docs(self) -> Documents | None: ...

    def set_fewshot_seed(self, seed: int) -> None: ...

    def build_all_requests(
        self,
        *,
        limit: int | None,
        samples: Collection[int] | None,
        system_instruction: str | None,
        apply_chat_template: bool,
        fewshot_as_multiturn: bool,
        chat_template: Callable[..., str] | None,
    ) -> None: ...

    def doc_to_text(self, doc: Document, doc_to_text: str | None = None) -> str | int: ...

    def doc_to_choice(self, doc: Document) -> Sequence[str]: ...

    def doc_to_prefix(self, doc: Document) -> str | None: ...

    def fewshot_context(self, doc: Document, num_fewshot: int, *, gen_prefix: str | None) -> str | list[str]: ...

    def doc_to_target(self, doc: Document, doc_to_target: str | None = None) -> str | int | list[int] | list[str]: ...

    def apply_filters(self) -> object: ...

    def higher_is_better(self) -> Mapping[str, bool]: ...

    def process_results(self, doc: Document, results: list[object]) -> Mapping[str, object]: ...

    def aggregation(self) -> Mapping[str, Aggregation]: ...
