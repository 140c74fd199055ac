"""What adapters and results are called on the Hub: names it allows, no two alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

from study.store.records import AdapterRecord

MOST = 90  # characters of a name; the Hub allows 96


def results_name(study: str) -> str:
    return _plain(f"{study}-results", "results")


def adapter_names(study: str, records: Iterable[AdapterRecord]) -> dict[str, str]:
    """A name for each adapter by its id: study, model, source and seed, and its id where another is called so, too."""
    found: dict[str, str] = {}
    records = list(records)
    plain = {one.adapter_id: _plain(_words(study, one), one.adapter_id) for one in records}
    for adapter_id, name in plain.items():
        alike = sum(other.lower() == name.lower() for other in plain.values()) > 1
        found[adapter_id] = _plain(name[: MOST - 17], adapter_id) + f"-{adapter_id}" if alike else name
    return found


def _words(study: str, record: AdapterRecord) -> str:
    return f"{study}-{record.model}-{record.called.replace('/', '-')}-seed{record.seed}"


def _plain(name: str, otherwise: str) -> str:
    """Letters, digits, `-`, `_` and single `.`; neither `--` nor `..`, and none of these at an end."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    name = re.sub(r"[-.]{2,}", "-", name)[:MOST].strip("-._")
    return re.sub(r"\.git$", "-git", name) or otherwise
