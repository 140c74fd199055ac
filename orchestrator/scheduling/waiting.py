"""Scores that wait for an adapter of their own to be trained, by its adapter_id."""

from __future__ import annotations

from orchestrator.planning.grid import Part
from orchestrator.planning.plan import Plan


class Waiting:
    """Begins with the parts of a plan whose adapters are to be trained; `ready` are the others."""

    def __init__(self, plan: Plan) -> None:
        training = {unit.adapter_id for unit in plan.train}
        self.ready = [part for part in plan.parts if part.subject not in training]
        self._parts = {part.subject: part for part in plan.parts if part.subject in training}

    def of(self, adapter_id: str) -> Part | None:
        """What waits for an adapter; an adapter whose scores nobody asks for has nothing that does."""
        return self._parts.get(adapter_id)

    def take(self, adapter_id: str) -> Part | None:
        """What waits for an adapter, and from now on waits no more: the adapter is trained, or has failed."""
        return self._parts.pop(adapter_id, None)
