"""Beats of actors' work, on their way to who watches them: in the key-value store of Ray's control service.

Each actor writes its last beat under its id, once a second at most, from the thread that works. Who watches reads those
of all its actors at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from threading import Lock
from typing import Any

import ray
from ray.exceptions import RayError
from ray.experimental.internal_kv import internal_kv_get_gcs_client

from orchestrator.scheduling.silence import Beat
from study import pulse
from study.pulse import Reached

SAID_EVERY_S = 1.0
ANSWER_S = 10.0  # a control service that takes longer is not waited for: the next beat may come through
_SPACE = b"crosscells-beats"

Say = Callable[[bytes], None]


class Pulse:
    """Counts the beats of this process and says them, with the longest time between two of them by stage.

    And how far the work has come that began last, where that was told.
    """

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._lock = Lock()
        self._count, self._stage, self._longest = 0, pulse.LOADING, dict[str, float]()
        self._reached: Reached | None = None
        self._last = clock()
        self._said = -SAID_EVERY_S

    def begin(self, stage: str) -> None:
        """Work begins: what was before it is nobody's step."""
        self._last, self._reached = self._clock(), None
        self._beat(stage, is_step=False)

    def __call__(self, stage: str | None, reached: Reached | None = None) -> None:
        self._reached = reached or self._reached
        self._beat(stage or self._stage, is_step=True)

    def _beat(self, stage: str, is_step: bool) -> None:
        with self._lock:
            now = self._clock()
            if is_step:
                self._longest[stage] = max(self._longest.get(stage, 0.0), now - self._last)
            is_other, self._stage = stage != self._stage, stage
            self._count += 1
            self._last = now
            if is_other or not is_step or now - self._said >= SAID_EVERY_S:
                self._said = now
                far = None if self._reached is None else asdict(self._reached)
                self._say(json.dumps([self._count, stage, self._longest, far]).encode())


def own_pulse() -> Pulse:
    """The pulse of the actor that asks, told of all beats in its process from now on."""
    key = str(ray.get_runtime_context().get_actor_id()).encode()

    def say(beat: bytes) -> None:
        with suppress(RayError):
            _service().internal_kv_put(key, beat, True, _SPACE, ANSWER_S)

    found = Pulse(say)
    pulse.listen(found)
    return found


def beats(actor_ids: Iterable[str]) -> dict[str, Beat] | None:
    """What was heard last of some actors; None where the control service does not answer."""
    with suppress(RayError):
        said = _service().internal_kv_multi_get([one.encode() for one in actor_ids], _SPACE, ANSWER_S)
        return {key.decode(): Beat.of(*json.loads(beat)) for key, beat in said.items()}
    return None


def forget(actor_ids: Iterable[str]) -> None:
    """Drop the beats of actors that are gone."""
    with suppress(RayError):
        for one in actor_ids:
            _service().internal_kv_del(one.encode(), False, _SPACE, ANSWER_S)


def _service() -> Any:
    return internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
