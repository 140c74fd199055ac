"""Adapters that are put together of others: made of their parts' files where the store does not have them yet.

One that mixes its parts anew for each token has no matrices of its own: its parts are put on the base each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree

from transformers import PreTrainedModel

from adapters.composing import folder as files
from adapters.composing.arrow import arrow_model
from adapters.composing.composed import Composed, compose
from adapters.composing.geometry import Geometry, pairs
from adapters.composing.parts import read_parts
from adapters.folders.folder import AdapterWeights, UnsupportedAdapter
from adapters.modules.loaded import runs
from adapters.modules.plain import Plain
from evaluators.subjects.on_base import AdapterError
from evaluators.subjects.searched import found
from study.composition import Composition, Search, Term
from study.models.resolve import Model
from study.store import composed as stored
from study.store.composed import ComposedRecord
from study.store.layout import COMPOSED_FILE
from study.store.store import Store
from study.units import AdapterUnit, ComposedAdapter, GivenAdapter

IN_MEMORY = 1 << 28  # bytes of an adapter whose files are made there, beside its matrices
Read = Callable[[AdapterUnit | GivenAdapter], Path]  # a local folder of an adapter's files, fetched once
Loss = Callable[[Search, AdapterWeights], float]  # of a search's examples with an adapter, nats per token


@dataclass(frozen=True)
class Routed:
    """An adapter that mixes its parts for each token, and their folders by adapter_id."""

    composition: Composition
    folders: Mapping[str, Path]

    def on(self, base: PreTrainedModel) -> PreTrainedModel:
        """A model over the base's weights that computes with it. Raises AdapterError."""
        try:
            return runs(arrow_model(base, self.composition, self.folders))
        except UnsupportedAdapter as error:
            raise AdapterError(str(error)) from error


@dataclass(frozen=True)
class Place:
    """Where adapters are put together: their base, their store, a local folder, and what reads folders."""

    base: PreTrainedModel
    model: Model
    store: Store
    local: Path
    plain: Plain


def fetched(adapter: ComposedAdapter, place: Place, read: Read, loss: Loss) -> Path | Routed:
    """What is to be put on the base: a local folder of its files, which the store has from now on, or its parts.

    Who makes it twice writes the same bytes. `loss` judges what is searched. Raises AdapterError, and TaskError.
    """
    base, store = place.base, place.store
    routes, is_there = adapter.composition.method == "arrow", store.exists(f"{adapter.folder}/{COMPOSED_FILE}")
    if is_there and not routes:
        return store.fetch_adapter(adapter.folder, place.local)
    folders = {one.adapter_id: read(one) for one in adapter.parts}
    names = {one.adapter_id: str(one) for one in adapter.parts}
    try:
        parts = read_parts(base, adapter.composition.terms, folders, place.plain)
        if routes:
            if not is_there:
                record = _record(adapter, pairs(parts), max(part.rank for part in parts))
                stored.put(store, adapter.folder, {}, record)
            return Routed(adapter.composition, folders)
        composition = adapter.composition
        if composition.search is not None:
            search = composition.search
            composition = found(composition, lambda one: loss(search, compose(one, parts).weights))
        made = compose(composition, parts)
        record = _record(adapter, made.geometry.pairs, made.geometry.rank, made.geometry, composition.terms)
        folder = _put(adapter, place, made, record)
    except UnsupportedAdapter as error:
        told = str(error)
        for adapter_id, name in names.items():
            told = told.replace(adapter_id, name)
        raise AdapterError(f"{adapter.name} cannot be put together: {told}") from error
    place.plain.put(folder, made.weights)
    return folder


def _put(adapter: ComposedAdapter, place: Place, made: Composed, record: ComposedRecord) -> Path:
    """Put what was made into the store; a local folder of it: the store's own, or a copy."""
    store, here = place.store, place.local / "composed" / adapter.adapter_id
    if made.weights.bytes > IN_MEMORY:
        files.write(here, made, place.model, place.base)
        stored.put(store, adapter.folder, here, record)
    else:
        written = files.files_of(made, place.model, place.base)
        stored.put(store, adapter.folder, written, record)
        if not store.is_local:
            files.put(here, written)
    if not store.is_local:
        return here
    rmtree(here, ignore_errors=True)
    return Path(store.path(adapter.folder))


def _record(
    adapter: ComposedAdapter,
    pairs: tuple[stored.Pair, ...],
    rank: int,
    known: Geometry | None = None,
    terms: tuple[Term, ...] | None = None,
) -> ComposedRecord:
    made, folders = adapter.composition, {one.adapter_id: one.folder for one in adapter.parts}
    parameters = {key: value for key, value in asdict(made).items() if key not in ("method", "terms")}
    return ComposedRecord(
        adapter_id=adapter.adapter_id,
        model=adapter.model,
        name=adapter.name,
        seed=adapter.seed,
        method=made.method,
        parameters=parameters,
        terms=tuple(stored.Weighted(folder=folders[term.adapter_id], **asdict(term)) for term in terms or made.terms),
        norm=None if known is None else known.norm,
        truncation=None if known is None else known.truncation,
        truncations={} if known is None else {name: lost for name, lost in known.truncations.items() if lost},
        rank=rank,
        pairs=pairs,
    )
