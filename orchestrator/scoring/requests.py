"""The study's requests: built and tokenised once, put into Ray's object store, read from there by every evaluator.

Models with one tokenizer share them. The study's own process makes them, from the tasks it has loaded to plan, when a
target is first handed out; it owns them, so they live as long as the study, whatever node is lost meanwhile.
What encodes them imports torch, which takes seconds: `begin_importing` does so while a cluster starts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import ray

from orchestrator.failures import last_line
from study.cells import Cell
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.models.resolve import Model

if TYPE_CHECKING:
    from evaluators.items.encoder import Encoder

Table = ray.ObjectRef[pa.Table]  # refers to the requests of a target


def begin_importing() -> None:
    """Import what encodes them in a thread of its own, while others are waited for; who needs it waits for the rest."""
    threading.Thread(target=_import, name="imports", daemon=True).start()


def _import() -> None:
    with suppress(Exception):  # who needs it is told
        import evaluators.items.tokenised  # noqa: F401


class StudyRequests:
    """References to the requests' Arrow tables, by tokenizer and target. `warn` tells of what cannot be made."""

    def __init__(self, library: TaskLibrary, models: Sequence[Model], warn: Callable[[str], None]) -> None:
        self._library, self._warn = library, warn
        self._models = {model.name: model for model in models}
        self._encoders: dict[str, tuple[str, Encoder] | None] = {}
        self._refs: dict[tuple[str, Cell], Table | None] = {}

    def refs(self, model: str, cells: Iterable[Cell]) -> dict[Cell, Table]:
        """A reference per cell. One whose requests cannot be made here has none: the evaluator makes its own.

        A tokenizer that fails here is not asked again; should it fail there too, the evaluator says how.
        """
        from evaluators.items.encoder import encoder_of

        try:
            if model not in self._encoders:
                encoder = encoder_of(self._models[model])
                self._encoders[model] = encoder.identity, encoder
            own = self._encoders[model]
            found = {} if own is None else {cell: self._ref(*own, cell) for cell in cells}
        except Exception as error:  # noqa: BLE001 - a tokenizer's own code may raise anything
            self._encoders[model] = None
            reason = f"{type(error).__name__}: {last_line(error)}"
            self._warn(f"{model}: requests are not shared, each evaluator makes its own ({reason})")
            return {}
        return {cell: ref for cell, ref in found.items() if ref is not None}

    def _ref(self, identity: str, encoder: Encoder, cell: Cell) -> Table | None:
        if (identity, cell) not in self._refs:
            from evaluators.items.tokenised import tokenised

            try:
                _, table = tokenised(self._library, encoder, cell)
            except TaskError:
                self._refs[identity, cell] = None
            else:
                self._refs[identity, cell] = ray.put(table)
        return self._refs[identity, cell]
