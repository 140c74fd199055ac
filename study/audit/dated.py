"""Scores whose prompts held the date of the day on which they were made.

A chat template may ask what day it is, as Llama 3.2's does, and an older release told it: a base and its adapters were
asked otherwise on each day, under the same ids. Scores state since then that the day they tell is one (`day_fixed`).
Whether a model's template asks is in the files of its tokenizer, of which a store has none: they are looked for where
the study had the model, on this machine, and nothing is fetched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from study.audit.asked import NOT_AGAIN, Asked
from study.audit.findings import Findings
from study.audit.repairs import undo
from study.store.layout import SCORES
from study.store.records import StudyFile
from study.store.store import Store
from study.store.study_file import entries

_ASKS = b"strftime_now"  # what transformers gives templates to ask with
_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


class Dated:
    """The scores of targets that are asked in chats, made by chat templates of an older release, by model.

    Those go that the next run makes again.
    """

    def __init__(self, store: Store, asked: Asked) -> None:
        self._store, self._asked = store, asked
        study, targets = asked.study, asked.targets
        self._models = _models(study) if study else {}
        self._targets = _in_chats(study, targets) if study else pa.array([], pa.string())
        self._scores: defaultdict[str, set[str]] = defaultdict(set)
        self._others: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, part: pa.Table) -> None:
        """Look at the rows of a part of the scores."""
        rows = part.filter(pc.is_in(part.column("target_id"), self._targets))
        if "day_fixed" in part.column_names:
            rows = rows.filter(pc.invert(pc.fill_null(rows.column("day_fixed"), False)))
        again = self._asked.makes_again(rows)
        columns = (column.to_pylist() for column in (rows.column("model"), rows.column("score_id"), again))
        for model, score_id, is_made_again in zip(*columns, strict=True):
            (self._scores if is_made_again else self._others)[model].add(score_id)

    def tell(self, findings: Findings) -> None:
        """Add a problem for each model whose template asks for the day, a note for what stays or cannot be known."""
        for model in sorted((self._scores.keys() | self._others.keys()) & self._models.keys()):
            scores, others, (path, revision) = self._scores[model], self._others[model], self._models[model]
            asks = _asks(path, revision)
            if asks is None:
                at = f"hf download {path} --revision {revision} {' '.join(_FILES[::2])}" if revision else path
                findings.notes.append(
                    f"{_made(scores | others, model)}: whether their prompts held the date of their day is in the "
                    f"model's chat template, which is not on this machine; have it there and check again ({at})"
                )
            if asks and scores:
                findings.add(
                    SCORES,
                    f"{_made(scores, model)}: the model's chat template writes the date, then that of the day they "
                    "were made on, so they compare neither with those of other days nor with those made now, always "
                    "on 26 Jul 2024",
                    "these scores removed: the next run makes them again",
                    partial(undo, self._store, scores),
                )
            if asks and others:
                findings.notes.append(
                    f"{_made(others, model)}, hold the date of the day they were made on, {NOT_AGAIN}"
                )


def _made(scores: set[str], model: str) -> str:
    return f"{len(scores):,} scores of {model}, made by an older release"


def _models(study: StudyFile) -> dict[str, tuple[str, str | None]]:
    """Path and revision of each model, by its name."""
    pairs = zip(entries(study.config, "models"), study.models, strict=False)
    return {found.name: (str(entry["id"]), found.revision) for entry, found in pairs}


def _in_chats(study: StudyFile, targets: pa.Table) -> pa.Array:
    """The targets whose prompts are put into chat templates: as their task says, else as `scoring` does."""
    general = _chats(study.config)
    own = {task["name"]: _chats(task) for task in entries(study.config, "tasks") if "name" in task}
    names = targets.column("target_task").to_pylist()
    asked = [bool(general if own.get(name) is None else own[name]) for name in names]
    return targets.column("target_id").filter(pa.array(asked, pa.bool_())).combine_chunks()


def _chats(keys: Mapping[str, object]) -> object:
    scoring = keys.get("scoring")
    return scoring.get("apply_chat_template") if isinstance(scoring, Mapping) else None


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
