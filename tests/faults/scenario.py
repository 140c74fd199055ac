"""What is done to a run of a study, drawn from a seed: a value, so that a seed always means the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

SURVIVED = (  # the same driver goes on
    *("trainer", "trial", "evaluator", "node", "raylet"),  # killed
    *("stopped trainer", "stopped trial", "stopped evaluator"),  # by a signal, and not continued
    *("cut off", "asleep"),  # a node that answers nobody for a while, and a driver past the end of its lease
    *("requests", "slow"),
)
ENDED = ("driver", "interrupt", "full", "read_only", "frozen", "cluster")  # the next run goes on
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


def faults(seed: str, number: int) -> list[Fault]:
    """The faults of run `number`: kinds take turns, so that every one occurs; moments and company are random.

    A store is on a disk that fails or in a bucket whose requests fail, not both.
    """
    draw = random.Random(f"{seed}-{number}")
    ended = ENDED[number % len(ENDED)]
    survived = [kind for kind in SURVIVED if kind not in IN_BUCKET or ended not in ON_DISK]
    kinds = [ended, *draw.sample(survived, draw.randint(1, 2))]
    moments = sorted(draw.choice((0.0, draw.uniform(0.0, 0.8))) for _ in kinds)
    draw.shuffle(kinds)
    return [Fault(kind, after, draw.uniform(0, 4), draw.random()) for kind, after in zip(kinds, moments, strict=True)]
