"""What every trial of a study needs to know of it; it lies in Ray's object store once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from study.cells import Cell, Source
from study.config import StudyConfig
from study.data.example import Example
from study.data.prompts import Prompts
from study.models.resolve import Model
from study.store.store import Store
from study.units import AdapterUnit


@dataclass(frozen=True)
class TrialContext:
    """Models by name, units by adapter_id, the examples of each usable source; adapters go into `store`.

    `counts` says how many of a source's examples are of each of its cells; on `prompts` of other cells it is kept near
    the base, where it is to be.
    """

    config: StudyConfig
    models: Mapping[str, Model]
    units: Mapping[str, AdapterUnit]
    examples: Mapping[Source, tuple[Example, ...]]
    store: Store
    counts: Mapping[Source, tuple[int, ...]] = field(default_factory=dict)
    prompts: Mapping[Cell, Prompts] = field(default_factory=dict)
