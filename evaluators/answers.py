"""Answers as a store holds them, of one subject or of one of its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.data.harness import Instance


@dataclass(frozen=True)
class Subject:
    """What was scored: an adapter, or the base. `called` is what lm-eval would be told of it."""

    adapter_id: str | None
    model: str
    called: str


@dataclass(frozen=True)
class Answer:
    """What a store holds of one item: log-likelihoods of its options or of its text, or what was written.

    `exact` is whether greedy decoding would write the option `gold`, where the config names that metric.
    """

    doc_hash: str
    loglikelihoods: Sequence[float]
    correct: float | None
    generation: str | None
    gold: int = -1
    exact: float | None = None


@dataclass(frozen=True)
class Answers:
    """The answers of a subject on a task: `rows` names for each document, in lm-eval's order, its row of the split."""

    rows: Sequence[int]
    by_row: Mapping[int, Answer]
    output_type: str

    def of(self, instance: Instance) -> Answer:
        return self.by_row[self.rows[instance.doc_id]]
