"""Adapters that exist already: PEFT folders on this machine or on the Hub, scored beside the study's own.

A run puts their config and weights into the store before it scores them, so that every machine finds them there and the
store holds all that its numbers come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from study.cells import Cell, Source
from study.config import ExistingAdapter, StudyConfig
from study.errors import ConfigError
from study.identity import digest
from study.models import fits, given_fits, given_weights, peft_config
from study.models.given_safety import link_out_of
from study.models.resolve import Model
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE
from study.store.store import Store
from study.units import GivenAdapter


def resolve_existing(config: StudyConfig, models: Sequence[Model]) -> list[GivenAdapter]:
    """Find the config's `adapters`. Raises ConfigError for one that is missing, no adapter, or listed twice."""
    names = {name: model for entry, model in zip(config.models, models, strict=True) for name in (entry.id, model.name)}
    found: dict[str, GivenAdapter] = {}
    for i, entry in enumerate(config.adapters):
        if entry.model not in names:
            known = ", ".join(model.name for model in models)
            raise ConfigError(
                f"adapters[{i}].model", entry.model, "is no model of this study", f"use one of {known}, or add it there"
            )
        adapter = _resolve(entry, names[entry.model], f"adapters[{i}]", bool(config.chats()))
        other = found.setdefault(adapter.adapter_id, adapter)
        if other is not adapter:
            raise ConfigError(f"adapters[{i}]", entry.path, f"is the same adapter as {other.name!r}", "list it once")
    return list(found.values())


def _resolve(entry: ExistingAdapter, model: Model, key: str, chat: bool) -> GivenAdapter:
    source = Source.of([Cell.parse(entry.source)]) if entry.source is not None else None
    folder = _folder(entry, key)
    try:
        held = given_weights.files(folder)
        missing = [file.name for file in (*held, folder / CONFIG_FILE) if not file.is_file()]
        if missing or not held:
            raise ConfigError(
                f"{key}.path",
                entry.path,
                f"holds no {missing[0] if held else WEIGHTS_FILE}",
                "name a folder made by PEFT's save_pretrained",
            )
        told, own, embedded = (
            peft_config.read(folder / CONFIG_FILE),
            given_weights.shapes(held),
            fits.embedded(model),
        )
        given_fits.check_tensors(told, own, fits.weights(model), fits.longest(model))
        if embedded is not None:
            given_fits.check_tokenizer(folder, own, embedded, chat)
        tokens = given_weights.tokenizer(folder, own, embedded)
    except ValueError as error:
        raise ConfigError(f"{key}.path", entry.path, str(error), "save the adapter again, or leave it out") from error
    identity = {
        "kind": "existing adapter",
        "model": model.identity,
        "peft_type": told["peft_type"],
        "files": [_digest(file) for file in (*held, folder / CONFIG_FILE, *tokens)],
        "source": entry.source,  # decides no score, but stands in every row of results
    }
    names = tuple(file.name for file in tokens)
    return GivenAdapter(digest(identity), model.name, entry.name, source, str(folder), names)


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
        if (link := link_out_of(folder)) is not None:
            problem = f"its {link} is a link out of the folder, and would be copied into the store"
            raise ConfigError(f"{key}.path", entry.path, problem, "put the file itself there")
        return folder
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                entry.path, revision=entry.revision, allow_patterns=[*given_weights.PATTERNS, CONFIG_FILE]
            )
        )
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
    """Put an adapter's files into the store where they are not there yet: its config last, as a sign that all are.

    Raises ConfigError for weights that cannot be read.
    """
    if store.exists(f"{adapter.folder}/{CONFIG_FILE}"):
        return
    folder = Path(adapter.path)
    try:
        weights = given_weights.as_one_file(folder)
    except ValueError as error:
        raise ConfigError("adapters.path", adapter.path, str(error), "save the adapter again") from error
    store.write(f"{adapter.folder}/{WEIGHTS_FILE}", weights)
    for name in adapter.tokenizer:
        store.write(f"{adapter.folder}/{name}", (folder / name).read_bytes())
    store.write(f"{adapter.folder}/{CONFIG_FILE}", (folder / CONFIG_FILE).read_bytes())
