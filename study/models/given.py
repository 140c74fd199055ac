"""Adapters that exist already: PEFT folders on this machine or on the Hub, scored beside the study's own.

A run copies their two files into the store before it scores them, so that every machine finds them there and the store
holds all that its numbers come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from study.cells import Cell, Source
from study.config import ExistingAdapter, StudyConfig
from study.errors import ConfigError
from study.identity import digest
from study.models import peft_config
from study.models.resolve import Model
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE
from study.store.safetensors_header import header_in
from study.store.store import Store
from study.units import GivenAdapter

FILES = (WEIGHTS_FILE, CONFIG_FILE)  # in the order in which they are put into the store


def resolve_existing(config: StudyConfig, models: Sequence[Model]) -> list[GivenAdapter]:
    """Find the config's `adapters`. Raises ConfigError for one that is missing, no adapter, or listed twice."""
    names = {name: model for entry, model in zip(config.models, models, strict=True) for name in (entry.id, model.name)}
    found: list[GivenAdapter] = []
    for i, entry in enumerate(config.adapters):
        if entry.model not in names:
            known = ", ".join(model.name for model in models)
            raise ConfigError(
                f"adapters[{i}].model", entry.model, "is no model of this study", f"use one of {known}, or add it there"
            )
        adapter = _resolve(entry, names[entry.model], f"adapters[{i}]")
        for other in found:
            if other.adapter_id == adapter.adapter_id:
                raise ConfigError(
                    f"adapters[{i}]", entry.path, f"is the same adapter as {other.name!r}", "list it once"
                )
        found.append(adapter)
    return found


def _resolve(entry: ExistingAdapter, model: Model, key: str) -> GivenAdapter:
    source = Source.of([Cell.parse(entry.source)]) if entry.source is not None else None
    folder = _folder(entry, key)
    for name in FILES:
        if not (folder / name).is_file():
            raise ConfigError(
                f"{key}.path",
                entry.path,
                f"holds no {name} (pickled weights are not read)",
                "name a folder made by PEFT's save_pretrained",
            )
    try:
        kind = peft_config.read(folder / CONFIG_FILE)["peft_type"]
        header_in(folder / WEIGHTS_FILE)
    except ValueError as error:
        raise ConfigError(f"{key}.path", entry.path, str(error), "save the adapter again, or leave it out") from error
    identity = {
        "kind": "existing adapter",
        "model": model.identity,
        "peft_type": kind,
        "files": [_digest(folder / name) for name in FILES],
        "source": entry.source,  # decides no score, but stands in every row of results
    }
    return GivenAdapter(digest(identity), model.name, entry.name, source, str(folder))


def _folder(entry: ExistingAdapter, key: str) -> Path:
    """Find the folder of its files: a local one, or one of the Hub's cache, filled when the Hub can be reached."""
    if Path(entry.path).exists() or entry.path.startswith((".", "/", "~")):
        folder = Path(entry.path).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(
                f"{key}.path",
                entry.path,
                f"no such folder (working directory: {Path.cwd()})",
                "name an adapter's folder or its hub id",
            )
        return folder
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(entry.path, revision=entry.revision, allow_patterns=list(FILES)))
    except (OSError, hub.LocalEntryNotFoundError, hub.HTTPError, hub.HFValidationError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{key}.path",
            entry.path,
            f"is no local folder, and the Hub does not have it or cannot be reached ({reason})",
            "name an existing folder, or check the id; gated ones need HF_TOKEN in the environment",
        ) from error


def _digest(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def put_into(store: Store, adapter: GivenAdapter) -> None:
    """Copy an adapter's files into the store where they are not there yet: its config last, as a sign that all are."""
    if store.exists(f"{adapter.folder}/{FILES[-1]}"):
        return
    for name in FILES:
        store.write(f"{adapter.folder}/{name}", (Path(adapter.path) / name).read_bytes())
