"""Where what is published comes from: the base and the data of a study, and their licences as far as they are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analysis.publishing import licences
from study.store.records import StudyFile

ON_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")
UNKNOWN = "not known here"


@dataclass(frozen=True)
class Base:
    """A model of the Hub by its id, or one of a folder by its name in the study."""

    name: str
    on_hub: bool
    licence: str | None

    @property
    def loaded_from(self) -> str:
        """What a command is given for it: a name of the study might be somebody else's on the Hub."""
        return self.name if self.on_hub else "FOLDER OF THE BASE"


def base_of(info: StudyFile, model: str, ask: bool) -> Base:
    """The base of that name in a study."""
    revision = next((one.revision for one in info.models if one.name == model), None)
    asked = model
    for entry in _entries(info.config.get("models")):
        name = entry.get("name") or str(entry.get("id", "")).rstrip("/").rpartition("/")[2]
        if name == model:
            asked = str(entry["id"])
            break
    return Base(asked if revision else model, revision is not None, licences.of_model(asked, revision, ask))


def tasks_of(info: StudyFile) -> list[str]:
    """Every task and text of a study, whether learned from or scored on."""
    return [str(one["name"]) for one in _all(info) if one.get("name")]


def data_of(info: StudyFile, tasks: Iterable[str], ask: bool) -> list[str]:
    """A line for each task: its lm-eval task or data set, and the licence or where to look for it."""
    lines, entries = [], _all(info)
    for task in tasks:
        entry = next((one for one in entries if one.get("name") == task), {})
        train = entry.get("train")
        path = train.get("dataset_path") if isinstance(train, Mapping) else None
        if isinstance(path, str) and ON_HUB.fullmatch(path):
            told, licence = f"data set {path}", licences.of_data(path, ask) or f"{UNKNOWN}; see its page on the Hub"
        elif isinstance(entry.get("lm_eval"), str):
            told, licence = f"lm-eval task {entry['lm_eval']}", f"{UNKNOWN}; see what that task reads"
        else:
            told, licence = "the study's own", UNKNOWN
        lines.append(f"Data of {task}: {told}, licence {licence}.")
    return lines


def _all(info: StudyFile) -> list[Mapping[str, object]]:
    return [*_entries(info.config.get("tasks")), *_entries(info.config.get("texts"))]


def _entries(value: object) -> Sequence[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
