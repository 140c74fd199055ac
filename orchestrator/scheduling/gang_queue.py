"""The gangs of a study that wait for a trial, and those that run: which is next, and how many may. No Ray in here.

Two threads use it: Tune's takes gangs and says how they ended, the main one says how many may run and reads `events`.
A gang is at every moment waiting, running, or ended with its event in the queue: the main thread misses none. One whose
members begin with adapters that are to be trained first goes out when all of these are `trained`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, TypeVar

from orchestrator.scheduling.decide import next_gang
from orchestrator.scheduling.gangs import Gang
from orchestrator.scheduling.waits import Waits

Event = TypeVar("Event")
TRIALS_EACH = 50  # per trainer, until Tune begins anew, with new trainers: it keeps 0.05 MB of every trial it has had


class GangQueue(Generic[Event]):
    """Hands out gangs, in order, at most `allow`ed ones at once; what comes of them goes into `events`."""

    def __init__(self, to_do: Sequence[Gang], waits: Waits | None = None, trials_each: int = TRIALS_EACH) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._waits, self._trials_each = waits or Waits(), trials_each
        self._waiting = list(to_do)
        to_train = {unit.adapter_id for gang in to_do for unit in gang}
        self._awaited = {unit.waits_for for gang in to_do for unit in gang} & to_train
        self._running: dict[str, Gang] = {}
        self._attempts: dict[Gang, Mapping[str, int]] = {}  # of gangs that have given up a place
        self._unplaced: dict[str, float] = {}  # trials that wait for one, and since when
        self._trainers = 0  # which Tune has made, and keeps
        self._handed_out = 0  # to them
        self._idle_since: float | None = None  # when one of them that may do nothing was first seen
        self._allowed = 0
        self._warm: str | None = None
        self._changed = threading.Condition()

    def allow(self, trials: int) -> None:
        """How many may run from now on; those that run already are never stopped."""
        with self._changed:
            self._allowed = trials
            self._changed.notify()

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify()

    def trained(self, adapter_id: str) -> None:
        """An adapter is there to begin with."""
        with self._changed:
            self._awaited.discard(adapter_id)

    def lost(self, adapter_ids: Collection[str]) -> None:
        """Hand these out no more: what they begin with has failed."""
        with self._changed:
            left = (tuple(unit for unit in gang if unit.adapter_id not in adapter_ids) for gang in self._waiting)
            self._waiting = [gang for gang in left if gang]
            self._changed.notify()

    def able(self) -> list[Gang]:
        """The gangs that wait for nothing but a place; all, where nothing runs: it is known soon what they wait for."""
        with self._changed:
            found = [self._waiting[i] for i in self._able()]
            return found if found or self._running else list(self._waiting)

    def state(self) -> tuple[list[Gang], list[Gang]]:
        """The gangs that wait and those that run."""
        with self._changed:
            return list(self._waiting), list(self._running.values())

    def running(self) -> dict[str, Gang]:
        """The gangs that run, by trial."""
        with self._changed:
            return dict(self._running)

    def is_wanted(self) -> bool:
        """Wait until a trial may run; False when no gang waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._allowed > 0 or not self._waiting)
            return bool(self._waiting)

    def next(self, trial_id: str) -> Gang | None:
        """Hand out the next gang, if one may run."""
        with self._changed:
            able = self._able()
            if not able or len(self._running) >= self._allowed:
                return None
            number = next_gang([self._waiting[i][0].model for i in able], self._warm)
            gang = self._running[trial_id] = self._waiting.pop(able[number])
            self._unplaced[trial_id] = time.monotonic()
            self._trainers = max(self._trainers, len(self._running))
            self._handed_out += 1
            return gang

    def attempts(self, gang: Gang) -> dict[str, int]:
        """What a gang that has given up its place has spent there, by kind of failure."""
        return dict(self._attempts.pop(gang, {}))

    def placed(self, trial_id: str) -> None:
        """A trial's actor is there."""
        with self._changed:
            self._unplaced.pop(trial_id, None)

    def starves(self) -> bool:
        """Whether a trial that may run has been without a place for a while."""
        with self._changed:
            return any(time.monotonic() - since > self._waits.placed_s for since in self._unplaced.values())

    def keeps_none(self) -> None:
        """Tune begins, or begins anew: it has made no trainer yet."""
        with self._changed:
            self._trainers, self._handed_out, self._idle_since = 0, 0, None

    def is_over(self) -> bool:
        """Whether Tune should end once what runs has ended, and let go of trainers that have nothing to do at once.

        Also when one has been kept idle for a while, and when there have been so many trials that they fill memory.
        """
        with self._changed:
            kept = len(self._running) >= self._allowed and len(self._running) < self._trainers
            self._idle_since = (self._idle_since or time.monotonic()) if kept else None
            idle = self._idle_since is not None and time.monotonic() - self._idle_since >= self._waits.idle_s
            full = self._handed_out >= self._trials_each * max(1, self._trainers)
            return not self._waiting or self._allowed == 0 or idle or full

    def ended(self, trial_id: str, event: Event) -> None:
        """A trial has ended, and its gang with it."""
        with self._changed:
            self._warm = self._running.pop(trial_id)[0].model
            self._unplaced.pop(trial_id, None)
            self.events.put(event)

    def moved(self, trial_id: str, attempts: Mapping[str, int], gone: Collection[str], event: Event) -> None:
        """A trial has given up its place: its gang is next, elsewhere if there is a place, without the members `gone`.

        These are adapter_ids; the event tells of them.
        """
        with self._changed:
            gang = tuple(unit for unit in self._running.pop(trial_id) if unit.adapter_id not in gone)
            self._attempts[gang] = attempts
            self._waiting.insert(0, gang)
            self.events.put(event)

    def _able(self) -> Sequence[int]:
        """Where they are among those that wait."""
        everything = range(len(self._waiting))
        if not self._awaited:
            return everything
        return [i for i in everything if self._awaited.isdisjoint(unit.waits_for for unit in self._waiting[i])]
