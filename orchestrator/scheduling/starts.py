"""Starts of evaluators that fail: how often one after the other, and when the next one may be tried. No Ray in here.

Evaluators of a model that start at the same time and meet the same trouble are one failure, not many.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from orchestrator.failures import backoff_s


@dataclass
class _Failed:
    attempts: dict[str, int] = field(default_factory=dict)
    counted: float = -math.inf  # when the last one was
    not_before: float = -math.inf


class Starts:
    """What is known of each model's starts. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._failed: defaultdict[str, _Failed] = defaultdict(_Failed)

    def may(self, model: str, now: float) -> bool:
        """Whether an evaluator may be started."""
        return model not in self._failed or now >= self._failed[model].not_before

    def succeeded(self, model: str) -> None:
        """Budgets are for starts that fail one after the other."""
        self._failed.pop(model, None)

    def failed(self, model: str, kind: str, began: float, now: float) -> int:
        """Book a start that failed; how many have by now, or 0 where it is counted with one before it."""
        failed = self._failed[model]
        if began < failed.counted:
            return 0
        failed.attempts[kind] = failed.attempts.get(kind, 0) + 1
        failed.counted, failed.not_before = now, now + backoff_s(failed.attempts[kind])
        return failed.attempts[kind]
