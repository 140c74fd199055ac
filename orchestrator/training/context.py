"""What every trial of a study needs to know of it; it lies in Ray's object store once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.cells import Source
from study.config import StudyConfig
from study.data.example import Example
from study.models.resolve import Model
from study.store.store import Store
from study.units import AdapterUnit


@dataclass(frozen=True)
class TrialContext:
    """Models by name, units by adapter_id, the examples of each usable source; adapters go into `store`."""

    config: StudyConfig
    models: Mapping[str, Model]
    units: Mapping[str, AdapterUnit]
    examples: Mapping[Source, tuple[Example, ...]]
    store: Store
