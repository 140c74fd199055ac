"""Targets made ready: documents and rows of a cell, from requests made once in a study, used for every adapter.

Before a target's options share their prompts, its longest items whose rows branch are scored both ways. An architecture
that does not honour the mask (a recurrent layer, chunked attention) is found here, said once, and read row by row from
then on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from adapters.base.loading import embedded
from adapters.base.probe import precision
from evaluators.forward.engine import Engine
from evaluators.forward.rows import Request, Row, plain_rows, shared_rows, sides
from evaluators.items.encoder import Encoder
from evaluators.items.item import Item
from evaluators.items.tokenised import asked_for, items_from, longest_writing, parts_from, questions_in, tokenised
from study.cells import Cell
from study.data.example import some_of
from study.data.harness import Instance, Task
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.faults.network import Unreachable
from study.pulse import loading
from study.store import schema

log = logging.getLogger(__name__)

ROW_TOKENS = 512  # a row of several requests grows to this, or to twice its longest request: attention is dense
SharedRequests = Callable[[Cell], pa.Table | None]
EXACT = 1e-5  # nats that an option may differ where nothing but what others are is different,
ROUNDED = 2e-3  # and where a router is: how many tokens an expert gets decides how its sums are rounded
CHECKED_ITEMS = 2  # longest items of a target with rows that branch on which both paths are compared


@dataclass(frozen=True)
class Target:
    """A cell to score: `rows` cover all its requests, numbered 0 to n_requests - 1."""

    task: Task
    items: list[Item]
    rows: list[Row]
    n_requests: int
    path: Literal["shared", "plain", "generate"]
    longest_writing: int = 0  # tokens of the longest prompt and answer, where the model writes
    metrics: tuple[str, ...] = ()  # that the config names, the headline first
    questions: pa.Table = field(default_factory=schema.PROMPTS.empty_table)  # what its items ask, for people
    in_chat: bool = False  # whether it asks in turns, as the model's template writes them

    @cached_property
    def tokens(self) -> int:
        """Tokens the model reads, or may read and write."""
        return sum(len(row) for row in self.rows) or self.n_requests * self.longest_writing

    @property
    def instances(self) -> list[Instance]:
        return [instance for item in self.items for instance in item.instances]


class Targets:
    """The targets of one evaluator, made ready on first use and kept. For a cell that has none the reason is kept.

    `shared` returns a cell's requests if another process has made them; else they are made here. Options share their
    prompt where others beside one move it by no more than `exact` nats, and nowhere where that is None.
    """

    def __init__(
        self,
        library: TaskLibrary,
        encoder: Encoder,
        engine: Engine,
        shared: SharedRequests,
        exact: float | None,
    ) -> None:
        self._library = library
        self._encoder = encoder
        self._engine = engine
        self._shared = shared
        self._ready: dict[Cell, Target | TaskError] = {}
        self._shots: dict[tuple[Cell, int], list[Request]] = {}
        self._exact = 0.0 if exact is None else exact
        self._shares_prompts = exact is not None
        self._turn = engine.turn

    def ready(self, cell: Cell) -> Target:
        """The target of a cell. Raises TaskError, which stays, or Unreachable, which may pass."""
        if cell not in self._ready:
            try:
                with self._engine.stage("tokenise"):
                    self._ready[cell] = self._prepare(cell)
            except TaskError as error:
                self._ready[cell] = error
        found = self._ready[cell]
        if isinstance(found, TaskError):
            raise found
        return found

    def shots(self, cell: Cell, count: int) -> list[Request]:
        """Training examples of a cell, so many, as texts whose answers are scored. Raises TaskError."""
        if (cell, count) not in self._shots:
            drawn = some_of(self._library.examples(cell), count)
            pairs = [(one.prompt, one.answer) for one in drawn]
            self._shots[cell, count] = self._encoder.requests(asked_for(str(cell), pairs))
        return self._shots[cell, count]

    def readable(self, cell: Cell) -> Target | None:
        """The target of a cell; None where it has none, or none for now."""
        try:
            return self.ready(cell)
        except (TaskError, Unreachable):
            return None

    def _prepare(self, cell: Cell) -> Target:
        with loading():  # data may have to come from the Hub, and be made ready
            task: Task = self._library.load(cell)
            table = self._shared(cell)
            items = None if table is None else items_from(task, table)
            if items is None:
                items, table = tokenised(self._library, self._encoder, cell)
        in_chat = bool(self._library.scoring(cell).apply_chat_template)
        made = self._with_rows(task, items, table, self._library.metrics(cell))
        return replace(made, questions=questions_in(table), in_chat=in_chat)

    def _with_rows(self, task: Task, items: list[Item], table: pa.Table, metrics: tuple[str, ...]) -> Target:
        parts = parts_from(table)
        largest = max((max(part.tokens) for own in parts for part in own), default=0)
        if largest >= (known := embedded(self._engine.model)):
            raise TaskError(f"the tokenizer writes token {largest}, and the model's embedding has {known} rows")
        if task.OUTPUT_TYPE == "generate_until":
            return Target(task, items, [], len(parts), "generate", longest_writing(table), metrics)
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            rows = [
                row
                for number, own in enumerate(parts)
                for side in sides(range(len(own)), own, self._turn)
                for row in plain_rows([own[part] for part in side], [number] * len(side))
            ]
            return Target(task, items, rows, len(parts), "plain", metrics=metrics)
        requests = [request for (request,) in parts]
        if self._shares_prompts and self._sharing_is_exact(items, requests):
            return Target(task, items, shared(items, requests, self._turn), len(requests), "shared", metrics=metrics)
        return Target(task, items, plain(items, requests, self._turn), len(requests), "plain", metrics=metrics)

    def _sharing_is_exact(self, items: Sequence[Item], requests: Sequence[Request]) -> bool:
        """Compare both paths on the target's longest items whose rows branch; where none does, both are the same.

        In half precision rounding is allowed for, per token, which a layer that carries its state from one option into
        the next would pass too. So each option is also read beside other ones: that must not change it, in any
        precision, for all else is computed in the same order.
        """
        longest = self._branching(items, requests)
        rows, halved = shared(longest, requests, self._turn), precision(self._engine.model) != 4
        expected, _ = self._engine.loglikelihoods(plain(longest, requests, self._turn), len(requests))
        try:
            found, _ = self._engine.loglikelihoods(rows, len(requests))
            moved = self._moved(rows, found)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            # a model that takes no such mask or positions, or has layers of a kind we have no mask for
            self._shares_prompts, reason = False, f"{type(error).__name__}: {error}"
        else:
            difference = np.abs(found - expected)
            scored = np.array([request.n_scored for request in requests])
            tolerance = 0.1 + 0.05 * scored if halved else np.full(len(requests), 1e-3)
            exact = (difference <= tolerance).all() and moved <= self._exact
            self._shares_prompts = bool(exact or np.isnan(expected).any())
            reason = f"log-likelihoods differ by up to {difference.max():.3g}, and by {moved:.3g} beside other options"
        if not self._shares_prompts:
            name = type(self._engine.model).__name__
            log.warning("%s does not honour a mask over shared prompts (%s): scoring row by row", name, reason)
        return self._shares_prompts

    def _branching(self, items: Sequence[Item], requests: Sequence[Request]) -> list[Item]:
        """The longest items in whose rows an option stands beside another, a few of them."""
        longest = sorted(items, key=lambda item: _longest(item, requests), reverse=True)
        branching = (item for item in longest if not all(row.is_chain for row in shared([item], requests, self._turn)))
        return list(islice(branching, CHECKED_ITEMS))

    def _moved(self, rows: Sequence[Row], found: NDArray[np.float64]) -> float:
        """How far (nats) options of these rows are from what was `found` where others stand beside them."""
        moved, owners = 0.0, [np.unique(row.owner_S).tolist() for row in rows]
        for turn in range(max(map(len, owners), default=0)):  # one of each row at a time: batches are cut as before
            own = [each[min(turn, len(each) - 1)] for each in owners]
            copies = [_beside_others(row, owner) for row, owner in zip(rows, own, strict=True)]
            beside, _ = self._engine.loglikelihoods(copies, len(found))
            moved = max(moved, float(np.abs(beside - found)[own].max()))
        return moved


def _beside_others(row: Row, owner: int) -> Row:
    """A row in which a request has other ones beside it: tokens that are no part of its path are others."""
    last, nodes = row.at_S[row.owner_S == owner].max(), np.arange(len(row))
    is_read = (nodes <= last) & (last < row.end_N)
    return replace(row, tokens_N=np.where(is_read, row.tokens_N, row.tokens_N[::-1]).astype(np.int32))


def shared(items: Sequence[Item], requests: Sequence[Request], turn: int | None = None) -> list[Row]:
    """Rows in which the options of an item share its prompt, and lie on one side of a `turn`."""
    rows: list[Row] = []
    for item in items:
        cap = max(ROW_TOKENS, 2 * _longest(item, requests))
        for numbers in sides(item.requests, requests, turn):
            rows += shared_rows([requests[number] for number in numbers], numbers, cap)
    return rows


def plain(items: Sequence[Item], requests: Sequence[Request], turn: int | None = None) -> list[Row]:
    """Rows of ordinary text."""
    parts = (numbers for item in items for numbers in sides(item.requests, requests, turn))
    return [row for numbers in parts for row in plain_rows([requests[number] for number in numbers], numbers)]


def _longest(item: Item, requests: Sequence[Request]) -> int:
    return max(len(requests[number].tokens) for number in item.requests)
