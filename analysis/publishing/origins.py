"""Where what is published comes from: the base and the data of a study, and their licences as far as they are known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.publishing import licences
from study.config.fields import name_of
from study.store.records import StudyFile
from study.store.study_file import entries

ON_HUB = re.compile(r"([\w-][\w.-]*/)?[\w.{}-]+")  # braces are of `{language}`
FILE_OF_HUB = re.compile(r"hf://datasets/([\w-][\w.-]*/[\w.{}-]+)")
UNKNOWN = "not known here"
SET, LM_EVAL, OWN = "data set", "lm-eval task", "the study's own"  # kinds of origins


@dataclass(frozen=True)
class Base:
    """A model of the Hub by its id, or one of a folder by its name in the study."""

    name: str
    on_hub: bool
    licence: str | None
    revision: str | None = None
    quantization: str | None = None  # as the config has it

    @property
    def loaded_from(self) -> str:
        """What a command is given for it: a name of the study might be somebody else's on the Hub."""
        return self.name if self.on_hub else "FOLDER OF THE BASE"


def base_of(info: StudyFile, model: str, ask: bool) -> Base:
    """The base of that name in a study."""
    revision = next((one.revision for one in info.models if one.name == model), None)
    asked = model
    quantization: str | None = None
    for entry in entries(info.config, "models"):
        name = entry.get("name") or name_of(str(entry.get("id", "")))
        if name == model:
            asked, told = str(entry["id"]), entry.get("quantization")
            quantization = None if told is None else str(told)
            break
    licence = licences.of_model(asked, revision, ask)
    return Base(asked if revision else model, revision is not None, licence, revision, quantization)


def tasks_of(info: StudyFile) -> list[str]:
    """Every task and text of a study, whether learned from or scored on."""
    return [str(one["name"]) for one in _all(info) if one.get("name")]


def data_of(info: StudyFile, languages: Mapping[str, Collection[str]], ask: bool) -> list[str]:
    """A line for each origin of each task: its lm-eval tasks or data set, and the licence or where to look for it.

    What is learned from in a task's `languages`; where none are named all that it reads, also what it is scored on.
    """
    named = {str(one["name"]): one for one in reversed(_all(info)) if one.get("name")}
    lines = []
    for task, some in languages.items():
        found = dict.fromkeys(one for language in some or (None,) for one in _origins(named.get(task, {}), language))
        tasks = [name for kind, name in found if kind == LM_EVAL]
        told = [f"{SET} {name}, licence {_licence(name, ask)}" for kind, name in found if kind == SET]
        told += [f"{LM_EVAL} {', '.join(tasks)}, licence {UNKNOWN}; see what is read there"] if tasks else []
        told += [f"{OWN}, licence {UNKNOWN}"] if (OWN, "") in found else []
        lines += [f"Data of {task}: {one}." for one in told]
    return lines


def _licence(name: str, ask: bool) -> str:
    return licences.of_data(name, ask) or f"{UNKNOWN}; see its page on the Hub"


def _origins(entry: Mapping[str, object], language: str | None) -> Iterator[tuple[str, str]]:
    """Kind and name of what a task learns from in a language; without one of all that its entry names."""
    learned = _learned(entry)
    paths, files = (_named(learned.get(key), language) for key in ("dataset_path", "data_files"))
    paths = [name for name in paths if "/" in name or not files]  # else it says by what the files are read
    sets = [_on_hub(name) for name in paths] or [found and found[1] for found in map(FILE_OF_HUB.match, files)]
    tasks = _named(entry.get("lm_eval"), language) if language is None or not sets else []
    yield from ((SET, name) if name else (OWN, "") for name in sets)
    yield from ((LM_EVAL, name) for name in tasks)
    if not sets and not tasks:
        yield OWN, ""


def _learned(entry: Mapping[str, object]) -> Mapping[str, object]:
    """What is learned from by the keys of `train`: a text has it in `data`, a data set or files."""
    data = entry.get("data")
    if data is not None:
        return data if isinstance(data, Mapping) and "dataset_path" in data else {"data_files": data}
    train = entry.get("train")
    return train if isinstance(train, Mapping) else {}


def _named(value: object, language: str | None) -> list[str]:
    """The names of a key: one, in which `{language}` stands for each, or a table; without a language all of them."""
    if isinstance(value, Mapping):
        found = list(value.values()) if language is None else [value.get(language)]
    else:
        found = [value if language is None or not isinstance(value, str) else value.replace("{language}", language)]
    return [name for name in found if isinstance(name, str)]


def _on_hub(name: str) -> str | None:
    """The data set of the Hub that a path means; None for a folder of this place, which is looked for first."""
    here = any(Path().glob(name.replace("{language}", "*"))) if ON_HUB.fullmatch(name) else True
    return None if here else name


def _all(info: StudyFile) -> list[Mapping[str, object]]:
    return [*entries(info.config, "tasks"), *entries(info.config, "texts")]
