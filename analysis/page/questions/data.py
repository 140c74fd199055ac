"""What a page of questions shows of one target, as a value that JSON can hold.

Its size is bounded, however many rows the study has: of each cell some flips (`flips.py` beside this), of these
the MOST questions that most cells have kept, of a prompt its end. Everything that is left out is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.page.questions.flips import CellFlips, TargetFlips
from analysis.reading.panels import Panel
from analysis.reading.questions import Asked

MOST = 1_000  # questions of a target
PROMPT, OPTION = 3_000, 600  # characters that are shown of either
Value = dict[str, object]
Answers = Mapping[tuple[int, int], Value]  # as `answer` makes them, by row of the units frame, and doc_id


@dataclass(frozen=True)
class Chosen:
    """The flips of a target that are shown, model by model: numbers of questions are places in `docs`."""

    target: tuple[str, str]
    models: tuple[TargetFlips, ...]
    docs: tuple[int, ...]  # doc_id of each question

    @classmethod
    def of(cls, target: tuple[str, str], models: Sequence[TargetFlips]) -> Chosen:
        seen = Counter(doc for one in models for cell in one.cells for doc in one.panel.docs[cell.items].tolist())
        first = sorted(seen, key=lambda doc: (-seen[doc], doc))[:MOST]
        return cls(target, tuple(models), tuple(sorted(first)))

    def wanted(self) -> pl.DataFrame:
        """The answers that are shown: `unit` (row of the units frame), `doc_id`; each once."""
        units, docs = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for one in self.models:
            some = [(one.panel.units[:1], one.panel.docs)]
            some += [(cell.units, one.panel.docs[cell.items]) for cell in one.cells]
            for of, every in some:
                shown = every[np.isin(every, self.docs)]
                units.append(np.repeat(of, len(shown)))
                docs.append(np.tile(shown, len(of)))
        return pl.DataFrame({"unit": np.concatenate(units), "doc_id": np.concatenate(docs)})


def target_data(chosen: Chosen, asked: Asked, answers: Answers, seeds: Mapping[int, int | None]) -> Value:
    """All that is shown of a target."""
    task, language = chosen.target
    texts = [asked.questions(one.panel.model, task, language) for one in chosen.models]
    known = sorted((told for told in texts if told[0] is not None), key=lambda told: told[1])
    first, is_own = known[0] if known else (None, False)  # as all are asked, before one model's own way
    panel = chosen.models[0].panel
    gold = dict(zip(panel.docs.tolist(), panel.gold.tolist(), strict=True))
    questions = [
        one | {"gold": gold.get(doc, -1)}
        for doc, one in zip(chosen.docs, _questions(first, panel, chosen.docs), strict=True)
    ]
    if is_own:  # each model is asked its own way
        questions = [one | {"prompt": None} for one in questions]
    models = [
        _model(one, chosen.docs, answers, seeds) | (_own_prompts(frame, one.panel, chosen.docs) if own else {})
        for one, (frame, own) in zip(chosen.models, texts, strict=True)
    ]
    about: Value = {"task": task, "language": language, "metric": panel.metric, "kept": first is not None}
    return about | {"questions": questions, "models": models}


def _questions(frame: pl.DataFrame | None, panel: Panel, docs: Sequence[int]) -> list[Value]:
    """The texts of a panel's documents, as `frame` kept them."""
    rows = _by_doc(frame)
    hashes = dict(zip(panel.docs.tolist(), panel.hashes, strict=True))
    return [_question(doc, hashes.get(doc), rows.get(doc)) for doc in docs]


def _by_doc(frame: pl.DataFrame | None) -> dict[int, Mapping[str, object]]:
    return {} if frame is None else {row["doc_id"]: row for row in frame.iter_rows(named=True)}


def _question(doc: int, hashed: str | None, row: Mapping[str, object] | None) -> Value:
    """Its texts, where what was kept is of the very document that was answered."""
    if row is None or row["doc_hash"] != hashed:
        return {"id": doc, "prompt": None, "options": None, "reference": None}
    options = row["options"] if isinstance(row["options"], list) else []
    reference = row["reference"]
    return {
        "id": doc,
        "prompt": _end(str(row["prompt"])),
        "options": [_begin(str(option)) for option in options],
        "reference": None if reference is None else _begin(str(reference)),
    }


def _own_prompts(frame: pl.DataFrame | None, panel: Panel, docs: Sequence[int]) -> Value:
    """The prompts of a model that is asked as its own template writes them."""
    return {"prompts": [one["prompt"] for one in _questions(frame, panel, docs)]}


def _model(one: TargetFlips, docs: Sequence[int], answers: Answers, seeds: Mapping[int, int | None]) -> Value:
    panel = one.panel
    column = {doc: number for number, doc in enumerate(panel.docs.tolist())}
    base, values = int(panel.units[0]), panel.norm[0].tolist()
    at = {doc: number for number, doc in enumerate(docs)}
    gained, lost = one.gained.tolist(), one.lost.tolist()
    there = [column.get(doc) for doc in docs]
    return {
        "model": panel.model,
        "n": len(panel.docs),
        "sources": sum(cell.trained for cell in one.cells),
        "base": [
            None if n is None else {"value": _value(values[n]), **answers.get((base, doc), {})}
            for doc, n in zip(docs, there, strict=True)
        ],
        "gained": [0 if n is None else gained[n] for n in there],
        "lost": [0 if n is None else lost[n] for n in there],
        "cells": [_cell(cell, one, at, answers, seeds) for cell in one.cells],
    }


def _cell(
    cell: CellFlips, one: TargetFlips, at: Mapping[int, int], answers: Answers, seeds: Mapping[int, int | None]
) -> Value:
    docs = one.panel.docs[cell.items].tolist()
    flips = [
        {
            "q": at[doc],
            "change": _value(change),
            "seeds": [answers.get((unit, doc), {}) for unit in cell.units.tolist()],
        }
        for doc, change in zip(docs, cell.change.tolist(), strict=True)
        if doc in at
    ]
    return {
        "source": cell.source,
        "trained": cell.trained,
        "seeds": [seeds.get(unit) for unit in cell.units.tolist()],
        "n": cell.n_items,
        "gained": cell.n_gained,
        "lost": cell.n_lost,
        "flips": flips,
    }


def answer(choice: int | None, chances: Sequence[int | None] | None, written: str | None) -> Value:
    """Which option was chosen, and the options' chances in per mille; or what was written."""
    return {"choice": choice, "p": chances or []} if written is None else {"text": written}


def _value(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _end(text: str) -> str:
    return text if len(text) <= PROMPT else f"… {text[-PROMPT:]}"


def _begin(text: str) -> str:
    return text if len(text) <= OPTION else f"{text[:OPTION]} …"
