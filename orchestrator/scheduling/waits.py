"""How long things are waited for, in one value: what a run takes, and what a test makes shorter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Waits:
    """All in seconds."""

    placed_s: float = 5.0  # a trial that may run and has no place for so long starves
    idle_s: float = 10.0  # a trainer that may do nothing for so long gives its devices back
    give_way_s: float = 5.0  # between evaluators that give their places to a trial, one by one
    fresh_s: float = 1.0  # the cluster's nodes are asked for again after so long
    scouts_s: float = 1.0  # so are an autoscaler's
    start_s: float = 300.0  # workers of a trial that are not all there by then are not waited for
    loss_s: float = 30.0  # Ray takes about one to notice that a process is lost
