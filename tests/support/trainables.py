"""Trials that train nothing. Their processes import this file, so it imports little."""

from __future__ import annotations

import os
from typing import Any

from orchestrator.training.trial import AdapterTrial


class Unmade(AdapterTrial):
    """A trial whose program is not whole on its node."""

    def setup(self, config: dict[str, Any], context: Any) -> None:  # type: ignore[override]
        raise ModuleNotFoundError("No module named 'nowhere'")


class Quick(AdapterTrial):
    """A trial that says at once that its gang is trained, and by which process."""

    def step(self) -> dict[str, Any]:
        return {"done": True, "trained": self._gang, "rejected": [], "process": os.getpid()}
