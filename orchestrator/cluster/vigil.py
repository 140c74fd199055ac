"""Watches over actors that were given work: which are silent for too long, and how these are ended and told of.

It is asked in the watcher's own loop, and looks every few seconds. What it decides by is `scheduling.silence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.cluster import beats, stacks
from orchestrator.cluster.actors import Actor
from orchestrator.cluster.nodes import placed_on
from orchestrator.failures import Hung
from orchestrator.scheduling.silence import Awake, Duty, Silences
from study.pulse import LOADING, Reached
from study.store.layout import hung_file

LOOK_S = 5.0


class Vigil:
    """Over the actors of one study. `limit_s`: no silence is too long before."""

    def __init__(self, limit_s: float) -> None:
        self._clock = Awake()
        self._silences = Silences(limit_s)
        self._every_s = min(LOOK_S, limit_s / 10)
        self._looked = self._clock()

    @property
    def every_s(self) -> float:
        """How often it looks, at most."""
        return self._every_s

    def silent(self, at_work: Sequence[tuple[Actor, Duty]]) -> list[tuple[Actor, float]]:
        """Those of the actors at work that have been silent for too long, and for how many seconds."""
        now = self._clock()
        if now - self._looked < self._every_s:
            return []
        since_last, self._looked = now - self._looked, now
        actors = {actor._actor_id.hex(): (actor, duty) for actor, duty in at_work}
        if (heard := beats.beats(actors)) is None:
            self._silences.forgive(since_last)
            return []
        self._silences.hear({one: duty for one, (_, duty) in actors.items()}, heard, now)
        for one, (actor, duty) in actors.items():
            if duty.stage == LOADING and not self._silences.spoke(one) and not placed_on([actor]):
                self._silences.begin_anew(one, duty, now)  # it waits for a place
        return [(actors[one][0], seconds) for one, seconds in self._silences.too_long(now).items()]

    def reached(self, actor: Actor, duty: Duty) -> tuple[Reached, float] | None:
        """How far one that was looked at has come with a duty, and how many seconds ago it said so, if it has."""
        return self._silences.reached(actor._actor_id.hex(), duty, self._clock())

    def end(self, actors: Sequence[Actor], what: str, seconds: float) -> Hung:
        """Kill actors that hang. What is to be said of it, and to be left in the store's logs."""
        return as_hung(actors, what, f"no sign of life for {seconds:.0f} s")


def as_hung(actors: Sequence[Actor], what: str, problem: str) -> Hung:
    """Kill actors that live and do nothing, and say so."""
    found = stacks.end(actors)
    beats.forget(actor._actor_id.hex() for actor in actors)
    return Hung(f"{what}: {problem}", hung_file(datetime.now(UTC), what), found)


def remove(actors: Sequence[Actor]) -> list[stacks.Killing]:
    """Kill actors that are of no more use, whatever they do; what is still to be done for that on other nodes."""
    killings = stacks.remove(actors)
    beats.forget(actor._actor_id.hex() for actor in actors)
    return killings
