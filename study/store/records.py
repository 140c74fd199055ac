"""A store's small files as values: the study (study.yaml), an adapter (record.json), a failure.

Each reads the bytes of its file, or raises Damaged, and turns into the very mapping that its file holds. A key that an
older release did not write has a default; one that only a newer release knows is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from study.store import contents
from study.store.contents import Damaged, as_damaged
from study.store.course import Conditions, Course, Epoch, Examples, Stage, Tokens
from study.store.layout import epoch_id

TRAINED = ("adapter_id", "model", "source", "seconds", "tokens", "examples", "world_size", "device", "recipe", "files")
FAILED = ("unit", "kind", "attempts", "message")
Kind = TypeVar("Kind")


def now() -> str:
    """State the time as records do."""
    return datetime.now(UTC).isoformat(timespec="seconds")


# -- study.yaml ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredModel:
    """A model of the study as it was found. `embedded` of its `params` are embeddings and output heads."""

    name: str
    revision: str | None = None
    identity: str | None = None
    dtype: str | None = None
    params: int = 0
    embedded: int | None = None


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter of the study that was trained elsewhere. `left_out` counts tensors that its model lacks, by part."""

    name: str
    adapter_id: str
    model: str | None = None
    folder: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFile:
    """The study that was run last: its resolved config, what it found, with which versions of what, at which commit."""

    config: Mapping[str, object]
    models: tuple[StoredModel, ...] = ()
    adapters: tuple[StoredAdapter, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None

    @property
    def name(self) -> str | None:
        name = self.config.get("study")
        return str(name) if name else None

    @property
    def is_trial_run(self) -> bool:
        return bool(self.config.get("trial_run"))

    @property
    def trainer_resources(self) -> dict[str, float]:
        """What each worker of a trial held."""
        return self._resources("training", "resources_per_worker")

    @property
    def evaluator_resources(self) -> dict[str, float]:
        """What each evaluator held."""
        return self._resources("evaluators", "resources")

    @property
    def bodies(self) -> dict[str, int]:
        """Parameters outside embeddings and output heads by model; models without this figure are left out."""
        return {model.name: model.params - model.embedded for model in self.models if model.embedded is not None}

    def _resources(self, section: str, key: str) -> dict[str, float]:
        keys = self.config.get(section)
        found = keys.get(key) if isinstance(keys, Mapping) else None
        return {str(name): float(amount) for name, amount in found.items()} if isinstance(found, Mapping) else {}

    @classmethod
    def from_bytes(cls, data: bytes) -> StudyFile:
        """Parse study.yaml. Raises Damaged."""
        read = contents.yaml_in(data)
        config = read.get("config") if isinstance(read, dict) else None
        if not isinstance(read, dict) or not isinstance(config, dict):
            raise Damaged("it states no config")
        with as_damaged(KeyError, TypeError, ValueError):
            return cls(
                config,
                tuple(_made(StoredModel, entry, "name", "params") for entry in read.get("models", ())),
                tuple(_made(StoredAdapter, entry, "name", "adapter_id") for entry in read.get("adapters", ())),
                dict(read.get("versions") or {}),
                read.get("commit"),
            )

    def to_json(self) -> dict[str, object]:
        """Make the mapping that study.yaml holds, in its order."""
        return {
            "config": dict(self.config),
            "models": [asdict(model) for model in self.models],
            "adapters": [asdict(adapter) for adapter in self.adapters],
            "versions": dict(self.versions),
            "commit": self.commit,
        }


# -- record.json -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredFile:
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class AdapterRecord:
    """What an adapter is, and how its training went. `files` and `folder` are the store's, which adds them."""

    adapter_id: str
    model: str
    source: tuple[str, ...]
    recipe: Mapping[str, Any]
    course: Course
    conditions: Conditions
    model_identity: str = ""
    seed: int | None = None
    train_doc_hashes: tuple[str, ...] = ()
    stage: Stage | None = None
    written_at: str = field(default_factory=now)
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    folder: str = ""

    @property
    def called(self) -> str:
        """What its source is called (`str` of a study.cells.Source)."""
        return "+".join(self.source) + (f"@{self.stage.name}" if self.stage else "")

    @property
    def kept_id(self) -> str:
        """What its kept epoch would be called by itself: that is the adapter, and is not scored again."""
        return epoch_id(self.adapter_id, self.course.best_epoch)

    @classmethod
    def from_bytes(cls, data: bytes | str, folder: str = "") -> AdapterRecord:
        """Parse record.json of a folder of the store. Raises Damaged."""
        read = contents.mapping(data)
        _need(read, TRAINED)
        with as_damaged(KeyError, TypeError, ValueError, AttributeError):
            course = _made(
                Course,
                read,
                epochs=tuple(_made(Epoch, epoch) for epoch in read.get("epochs", ())),
                examples=_made(Examples, read["examples"]),
                tokens=_made(Tokens, read["tokens"]),
            )
            return _made(
                cls,
                read,
                adapter_id=str(read["adapter_id"]),
                source=tuple(read["source"]),
                train_doc_hashes=tuple(read.get("train_doc_hashes") or ()),
                stage=_made(Stage, stage, before=tuple(stage["before"])) if (stage := read.get("stage")) else None,
                course=course,
                conditions=_made(
                    Conditions,
                    read,
                    resumed_at_steps=tuple(read.get("resumed_at_steps", ())),
                    left_out=tuple(read.get("left_out", ())),
                ),
                files={str(name): _made(StoredFile, file) for name, file in read["files"].items()},
                folder=folder,
            )

    def to_json(self) -> dict[str, object]:
        """Make the mapping that record.json holds: course and conditions are one with the rest."""
        whole = asdict(self)
        del whole["folder"]
        return {**whole.pop("course"), **whole.pop("conditions"), **whole}


# -- failures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FailureRecord:
    """How a unit ended without a result.

    `unit` names it for people. `subject_id` and `target_id` say which it is: an adapter that was to be trained has no
    target, a cell whose data are broken is a subject of its own, its unit_id. Older releases state none. `kind` is a
    study.faults.kinds.FailureKind.
    """

    unit_id: str
    unit: str
    kind: str
    message: str
    attempts: int
    traceback: str = ""
    subject_id: str | None = None
    target_id: str | None = None
    failed_at: str = field(default_factory=now, compare=False)

    @classmethod
    def from_bytes(cls, data: bytes, unit_id: str) -> FailureRecord:
        """Parse the file that is named after a unit. Raises Damaged."""
        read = contents.mapping(data)
        _need(read, FAILED)
        return cls.from_json({**read, "unit_id": unit_id})

    @classmethod
    def from_json(cls, read: Mapping[str, object]) -> FailureRecord:
        return _made(cls, {"failed_at": "", **read})

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def _made(kind: type[Kind], read: Mapping[str, object], *needed: str, **own: object) -> Kind:
    """Make a dataclass of those of its fields that a mapping has; `own` ones replace the mapping's.

    Raises KeyError for a `needed` one that is not there, TypeError for one without a default.
    """
    for name in needed:
        _ = read[name]
    known = {one.name: read[one.name] for one in fields(kind) if one.name in read}  # type: ignore[arg-type]
    return kind(**{**known, **own})


def _need(read: Mapping[str, object], keys: Sequence[str]) -> None:
    if missing := [key for key in keys if key not in read]:
        raise Damaged(f"it states no {', '.join(missing)}")
