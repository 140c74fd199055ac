"""Scores whose prompts held the date of the day on which they were made.

A chat template may ask what day it is, as Llama 3.2's does, and an older release told it: a base and its adapters were
asked otherwise on each day, under the same ids. Scores state since then that the day they tell is one (`day_fixed`).
Whether a model's template asks is in the files of its tokenizer, of which a store has none: they are looked for where
the study had the model, on this machine, and nothing is fetched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from study.audit.findings import Findings
from study.audit.repairs import undo
from study.store.contents import Damaged
from study.store.layout import SCORES
from study.store.schema import OtherVersion
from study.store.store import Store
from study.store.study_file import read_study

_ASKS = b"strftime_now"  # what transformers gives templates to ask with
_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


class Dated:
    """The scores of the current config that were made by chat templates of an older release, by model."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._models = dict(_chatting(store))
        self._targets = _targets(store) if self._models else None
        self._scores: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, part: pa.Table) -> None:
        """Look at the rows of a part of the scores."""
        if self._targets is None:
            return
        rows = part.filter(pc.is_in(part.column("target_id"), self._targets))
        if "day_fixed" in part.column_names:
            rows = rows.filter(pc.invert(pc.fill_null(rows.column("day_fixed"), False)))
        for model, score_id in zip(rows.column("model").to_pylist(), rows.column("score_id").to_pylist(), strict=True):
            self._scores[model].add(score_id)

    def tell(self, findings: Findings) -> None:
        """Add a problem for each model whose template asks for the day, a note where that cannot be known."""
        for model in sorted(self._scores.keys() & self._models.keys()):
            scores, (path, revision) = self._scores[model], self._models[model]
            asks = _asks(path, revision)
            made = f"{len(scores):,} scores of {model}, made by an older release"
            if asks is None:
                at = f"hf download {path} --revision {revision} {' '.join(_FILES[::2])}" if revision else path
                findings.notes.append(
                    f"{made}: whether their prompts held the date of their day is in the model's chat template, which "
                    f"is not on this machine; have it there and check again ({at})"
                )
            elif asks:
                findings.add(
                    SCORES,
                    f"{made}: the model's chat template writes the date, then that of the day they were made on, so "
                    "they compare neither with those of other days nor with those made now, always on 26 Jul 2024",
                    "these scores removed: the next run makes them again",
                    partial(undo, self._store, scores),
                )


def _chatting(store: Store) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield each model's name, path and revision, where the config puts prompts into chat templates."""
    try:
        study = read_study(store)
    except Damaged:
        return
    scoring, models = (study.config.get(key) for key in ("scoring", "models")) if study else (None, None)
    if study and isinstance(scoring, Mapping) and scoring.get("apply_chat_template") and isinstance(models, list):
        for entry, found in zip(models, study.models, strict=False):
            yield found.name, (str(entry["id"]), found.revision)


def _targets(store: Store) -> pa.Array | None:
    """The targets as the current config scores them; None where they are not known."""
    try:
        grid = store.read_grid()
    except (Damaged, OtherVersion):
        return None
    return None if grid is None else grid[1].column("target_id").combine_chunks()


def _asks(path: str, revision: str | None) -> bool | None:
    """Whether the chat template of a model asks for the day; None where its files are not on this machine."""
    files = [file for name in _FILES if (file := _file(path, revision, name)) is not None]
    return any(_ASKS in file.read_bytes() for file in files) if files else None


def _file(path: str, revision: str | None, name: str) -> Path | None:
    if revision is None:
        file = Path(path).expanduser() / name
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(path, name, revision=revision)
    return Path(cached) if isinstance(cached, str) else None
