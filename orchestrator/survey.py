"""Looking at a study's data once, before planning: examples and fingerprints of every cell, and which cells are broken.

A broken cell (its data is missing or does not fit its templates) becomes a failure with its reason; it takes only
itself out of the study.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from study.cells import Cell, Source
from study.config import StudyConfig
from study.identity import digest
from study.tasks import Example, TaskError, TaskLibrary


@dataclass(frozen=True)
class Broken:
    """A cell that cannot be used in a role (`source` or `target`)."""

    role: str
    cell: str
    message: str
    traceback: str

    @property
    def unit_id(self) -> str:
        return digest({"broken": self.role, "cell": self.cell})


@dataclass
class Survey:
    """What planning needs to know of the data: a digest per usable source cell list and target, and the examples."""

    library: TaskLibrary
    examples: dict[Source, tuple[Example, ...]] = field(default_factory=dict)
    sources: dict[Source, list[str]] = field(default_factory=dict)
    targets: dict[Cell, str] = field(default_factory=dict)
    target_texts: dict[Cell, list[str]] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)


def survey(config: StudyConfig, library: TaskLibrary, supported: Callable[[object], None]) -> Survey:
    """Load every cell's data. `supported` raises TaskError for a task that the scoring engine cannot run."""
    found = Survey(library)
    for source in config.source_list():
        _with_reason(found.broken, "source", str(source), lambda s=source: _add_source(found, library, s))  # type: ignore[misc]
    for cell in config.target_list():
        _with_reason(found.broken, "target", str(cell), lambda c=cell: _add_target(found, library, c, supported))  # type: ignore[misc]
    return found


def _add_source(found: Survey, library: TaskLibrary, source: Source) -> None:
    found.examples[source] = library.source_examples(source)
    found.sources[source] = library.example_fingerprints(source)


def _add_target(found: Survey, library: TaskLibrary, cell: Cell, supported: Callable[[object], None]) -> None:
    supported(library.load(cell))
    requests = library.build_requests(cell)
    found.target_texts[cell] = _texts(request.args for request in requests)
    found.targets[cell] = library.target_fingerprint(cell, requests)


def _texts(requests: Iterable[Iterable[object]]) -> list[str]:
    """What the engine reads of requests: a prompt once, before the first of the options that share it."""
    texts, before = [], None
    for arguments in requests:
        prompt, *rest = arguments
        answers = "".join(part for part in rest if isinstance(part, str))
        texts.append(answers if rest and prompt == before else f"{prompt}{answers}")
        before = prompt
    return texts


def _with_reason(broken: list[Broken], role: str, cell: str, step: Callable[[], None]) -> None:
    """Run a step; a TaskError becomes an entry of `broken`."""
    try:
        step()
    except TaskError as error:
        broken.append(Broken(role, cell, str(error), traceback.format_exc()))
