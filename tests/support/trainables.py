"""Trials that train nothing. Their processes import this file, so it imports little."""

from __future__ import annotations

import os
from typing import Any

from orchestrator.training.outcome import GangEnded, Trained, as_result
from orchestrator.training.trial import AdapterTrial


class Unmade(AdapterTrial):
    """A trial whose program is not whole on its node."""

    def setup(self, config: dict[str, Any], context: Any) -> None:  # type: ignore[override]
        raise ModuleNotFoundError("No module named 'nowhere'")


class Quick(AdapterTrial):
    """A trial that says at once that its gang is trained, and by which process: as the number of its tokens."""

    def step(self) -> dict[str, Any]:
        trained = tuple(Trained(name, tokens=os.getpid(), seconds=0.0) for name in self.gang)
        return {"done": True, **as_result(GangEnded(trained))}
