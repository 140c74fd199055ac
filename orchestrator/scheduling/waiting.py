"""Scores that wait for adapters to be trained, by adapter_id: those of an adapter for itself, of a composed one for all
that it is put together of."""

from __future__ import annotations

from orchestrator.planning.grid import Part
from orchestrator.planning.plan import Plan


class Waiting:
    """Begins with the parts of a plan whose adapters are to be trained; `ready` are the others."""

    def __init__(self, plan: Plan) -> None:
        training = {unit.adapter_id for unit in plan.train}
        self.ready: list[Part] = []
        self._needs: dict[str, set[str]] = {}  # of each subject that waits: what is not trained yet
        self._parts: dict[str, list[Part]] = {}  # by what they wait for
        for part in plan.parts:
            needs = training.intersection(part.needs)
            if needs:
                self._needs[part.subject] = needs
            else:
                self.ready.append(part)
            for adapter_id in needs:
                self._parts.setdefault(adapter_id, []).append(part)

    def of(self, adapter_id: str) -> list[Part]:
        """What waits for an adapter, be it for others too."""
        return [part for part in self._parts.get(adapter_id, ()) if part.subject in self._needs]

    def trained(self, adapter_id: str) -> list[Part]:
        """What waits no more, now that an adapter is trained."""
        ready = []
        for part in self.of(adapter_id):
            self._needs[part.subject].discard(adapter_id)
            if not self._needs[part.subject]:
                del self._needs[part.subject]
                ready.append(part)
        self._parts.pop(adapter_id, None)
        return ready

    def lost(self, adapter_id: str) -> list[Part]:
        """What will never be ready, now that an adapter has failed."""
        gone = self.of(adapter_id)
        for part in gone:
            del self._needs[part.subject]
        self._parts.pop(adapter_id, None)
        return gone
