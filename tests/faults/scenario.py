"""What is done to a run of a study, drawn from a seed: a value, so that a seed always means the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

SURVIVED = ("trainer", "trial", "evaluator", "node", "raylet", "requests")  # the same driver goes on
ENDED = ("driver", "interrupt", "full", "read_only", "cluster")  # the next run goes on
DEAR_SURVIVED = (  # minutes each
    *("stopped trainer", "stopped trial", "stopped evaluator"),  # by a signal, and not continued
    *("cut off", "asleep"),  # a node that answers nobody for a while, and a driver past the end of its lease
    "slow",
)
DEAR_ENDED = ("frozen",)
ON_DISK = ("full", "read_only", "frozen")
IN_BUCKET = ("requests", "slow")


@dataclass(frozen=True)
class Fault:
    """`kind`, when the study is `after` (0 to 1) of its way to the end, measured in files of its store."""

    kind: str
    after: float
    wait_s: float
    draw: float

    def __str__(self) -> str:
        return f"{self.kind} at {self.after:.0%} + {self.wait_s:.2f} s"


def faults(seed: str, number: int, dear: bool) -> list[Fault]:
    """The faults of run `number`: kinds take turns, so that every one occurs; moments and company are random.

    A store is on a disk that fails or in a bucket whose requests fail, not both.
    """
    draw = random.Random(f"{seed}-{number}")
    ends, goes_on = (ENDED + DEAR_ENDED, SURVIVED + DEAR_SURVIVED) if dear else (ENDED, SURVIVED)
    ended = ends[number % len(ends)]
    survived = [kind for kind in goes_on if kind not in IN_BUCKET or ended not in ON_DISK]
    kinds = [ended, *draw.sample(survived, draw.randint(1, 2))]
    moments = sorted(draw.choice((0.0, draw.uniform(0.0, 0.8))) for _ in kinds)
    draw.shuffle(kinds)
    return [Fault(kind, after, draw.uniform(0, 4), draw.random()) for kind, after in zip(kinds, moments, strict=True)]
