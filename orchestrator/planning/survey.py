"""Looking at a study's data once, before planning: examples and fingerprints of every cell, and which cells are broken.

A broken cell (its data is missing or does not fit its templates) becomes a failure with its reason; it takes only
itself out of the study. Where data cannot be fetched for now, they are asked for again, but not for each cell of a
study that cannot reach anything: the waits of a survey are counted together.
"""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestrator.failures import backoff_s
from study.cells import Cell, Source
from study.config import StudyConfig
from study.config.expansion import Combination, cells_used, combinations, held_out, learned, searched
from study.data.example import Example, some_of, told
from study.data.gold import judges_itself, right_answer
from study.data.harness import Task
from study.data.prints import doc_hash
from study.data.prompts import Prompts, others, tasks_of
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.faults.kinds import BAD_DATA, TRANSIENT
from study.faults.network import Unreachable
from study.identity import digest
from study.store.records import FailureRecord


@dataclass(frozen=True)
class Broken:
    """A cell that cannot be used in a role (`source` or `target`), or a `composition` of such a one."""

    role: str
    cell: str
    kind: str
    message: str
    attempts: int
    traceback: str

    @property
    def failure(self) -> FailureRecord:
        """The record of it, which is of no unit but of the cell in its role."""
        name, unit = broken_id(self.role, self.cell), f"{self.role} {self.cell}"
        return FailureRecord(name, unit, self.kind, self.message, self.attempts, self.traceback, subject_id=name)


def broken_id(role: str, cell: str) -> str:
    """What names the failure of a cell in a role."""
    return digest({"broken": role, "cell": cell})


@dataclass(frozen=True)
class Question:
    """A prompt and the options that are scored after it; none where a text is rated, or one is written."""

    prompt: str
    options: tuple[str, ...] = ()


@dataclass
class Survey:
    """What planning needs to know of the data: a digest per usable source cell list and target, and the examples."""

    library: TaskLibrary
    examples: dict[Source, tuple[Example, ...]] = field(default_factory=dict)
    sources: dict[Source, list[str]] = field(default_factory=dict)
    counts: dict[Source, tuple[int, ...]] = field(default_factory=dict)  # examples of each cell
    targets: dict[Cell, str] = field(default_factory=dict)
    target_texts: dict[Cell, list[Question]] = field(default_factory=dict)
    target_items: dict[Cell, int] = field(default_factory=dict)
    own_shots: dict[Cell, int] = field(default_factory=dict)
    answers: dict[Cell, int] = field(default_factory=dict)  # how many different right answers are told
    prompts: dict[Cell, Prompts] = field(default_factory=dict)  # where adapters are kept near the base on them
    test_hashes: dict[Cell, frozenset[str]] = field(default_factory=dict)
    shots: dict[tuple[Cell, int], str] = field(default_factory=dict)  # digests of what weights are searched on
    samples_of_all: dict[Source, int] = field(default_factory=dict)  # asked for as large as all rows, and how many
    broken: list[Broken] = field(default_factory=list)
    held: tuple[str, ...] | None = None  # what raw text holds of items, once that was looked for

    def sizes(self) -> list[int]:
        """Count the items of each task that is measured: not of raw text, nor those that a lambda is chosen on."""
        cells = (cell for cell in self.target_texts if not cell.held_out and cell not in self.library.texts)
        return [len(self.target_texts[cell]) for cell in cells]


class _Patience:
    """How often a survey may still wait for data that cannot be fetched for now."""

    def __init__(self, budget: int, warn: Callable[[str], None]) -> None:
        self._budget, self._warn, self._waits = budget, warn, 0

    def wait(self, error: Unreachable) -> bool:
        """Wait, longer each time; False when that was often enough."""
        if self._waits >= self._budget:
            return False
        self._waits += 1
        seconds = backoff_s(self._waits)
        self._warn(f"{error}: asked again in {seconds:.0f} s ({self._waits} of {self._budget})")
        time.sleep(seconds)
        return True


def survey(
    config: StudyConfig, library: TaskLibrary, supported: Callable[[Task], None], warn: Callable[[str], None]
) -> Survey:
    """Load every cell's data. `supported` raises TaskError for a task that the scoring engine cannot run.

    `warn` is told when the survey waits for data.
    """
    found = Survey(library)
    patience = _Patience(config.failures.transient, warn)
    near = sorted(cells_used(config)) if any(one.keep_near_base.kl for one in config.trained_by.values()) else []
    for source in learned(config):
        if source.size is not None and not _is_part(found, source, source.size):
            continue
        _with_reason(found, patience, "source", str(source), lambda s=source: _add_source(found, library, s, near))  # type: ignore[misc]
    for cell, count in searched(config):
        _with_reason(found, patience, "source", str(cell), partial(_add_shots, found, library, cell, count))
    for cell in [*config.target_list(), *held_out(config)]:
        step = lambda c=cell: _add_target(found, library, c, supported)  # noqa: E731
        _with_reason(found, patience, "target", str(cell), step)
    for one in combinations(config):
        _with_reason(found, patience, "composition", one.name, partial(_check_parts, found, one))
    return found


def _check_parts(found: Survey, wanted: Combination) -> None:
    """Raise TaskError for a combination that cannot be, as data are broken that it needs."""
    for part in wanted.parts:
        if isinstance(part, Source) and part not in found.sources:
            raise TaskError(f"{wanted.name}: is put together of {part}, which cannot be used")
    if (keys := wanted.keys.weights) and wanted.cell and (wanted.cell, keys.search.examples) not in found.shots:
        raise TaskError(f"{wanted.name}: its weights are searched on {wanted.cell}, which cannot be used")


def _is_part(found: Survey, sample: Source, size: int) -> bool:
    """Whether a sample is a part of the whole, which was looked at before; where it is all of that, it is noted."""
    if (whole := found.examples.get(sample.whole)) is None:  # broken, which is told once
        return False
    if size >= len(whole):
        found.samples_of_all[sample] = len(whole)
    return size < len(whole)


def _add_source(found: Survey, library: TaskLibrary, source: Source, near: Sequence[Cell]) -> None:
    """`near` are the cells on whose prompts adapters of other tasks are kept near the base."""
    if isinstance(source.start, Source) and source.start not in found.sources:
        raise TaskError(f"{source}: begins with the adapter of {source.start}, which cannot be used")
    beside = [_near(found, library, source, near)] if near else []
    found.examples[source] = library.source_examples(source)
    found.sources[source] = [*library.example_fingerprints(source), *beside]
    found.counts[source] = tuple(map(len, library.each_of(source)))


def _near(found: Survey, library: TaskLibrary, source: Source, cells: Sequence[Cell]) -> str:
    """Fingerprint the prompts that a source is kept near the base on; a cell without training data has none."""
    tasks = tasks_of(source)
    for cell in cells:
        if cell.task not in tasks and cell not in found.prompts:
            try:
                found.prompts[cell] = Prompts.of(library.examples(cell))
            except TaskError:
                found.prompts[cell] = Prompts()
    if not (prompts := others(found.prompts, source)):
        raise TaskError(
            f"{source}: recipe.keep_near_base.kl goes by training prompts of other tasks, and there are none: "
            "add a task that has some, or set kl to 0"
        )
    return digest([one.fingerprint for one in prompts])


def _add_shots(found: Survey, library: TaskLibrary, cell: Cell, count: int) -> None:
    found.shots[cell, count] = digest([str(cell), *(told(one) for one in some_of(library.examples(cell), count))])


def _add_target(found: Survey, library: TaskLibrary, cell: Cell, supported: Callable[[Task], None]) -> None:
    task = library.load(cell)
    supported(task)
    requests = library.build_requests(cell)
    documents = {request.doc_id: request.doc for request in requests}.values()
    if says_right(task) and not cell.held_out:
        found.answers[cell] = len({right_answer(task, document) for document in documents})
    if not cell.held_out:
        found.test_hashes[cell] = frozenset(map(doc_hash, documents))
    found.target_texts[cell] = _questions(request.args for request in requests)
    found.target_items[cell] = len(documents)
    found.targets[cell] = library.target_fingerprint(cell, requests)
    found.own_shots[cell] = library.own_shots(cell)


def says_right(task: Task) -> bool:
    """Whether a task says what is right of a document: one that judges by itself need not, where it has no options."""
    return task.config.doc_to_choice is not None or not judges_itself(task)


def _questions(requests: Iterable[Iterable[object]]) -> list[Question]:
    """Requests, given by their arguments, with a prompt once for all options that follow it."""
    asked: list[tuple[str, list[str]]] = []
    for prompt, *rest in requests:
        options = [part for part in rest if isinstance(part, str)]
        if options and asked and asked[-1][1] and asked[-1][0] == prompt:
            asked[-1][1].extend(options)
        else:
            asked.append((str(prompt), options))
    return [Question(prompt, tuple(options)) for prompt, options in asked]


def _with_reason(found: Survey, patience: _Patience, role: str, cell: str, step: Callable[[], None]) -> None:
    """Run a step, again where its data cannot be fetched for now; an error that stays becomes an entry of `broken`."""
    for attempt in itertools.count(1):
        try:
            return step()
        except TaskError as error:
            kind, message = BAD_DATA, str(error)
        except Unreachable as error:
            if patience.wait(error):
                continue
            kind, message = TRANSIENT, str(error)
        found.broken.append(Broken(role, cell, kind, message, attempt, traceback.format_exc()))
        return None
