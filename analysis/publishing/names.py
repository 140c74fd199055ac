"""What adapters and results are called on the Hub: names it allows, no two alike.

Invariant: an adapter's name is of itself alone, so that it stays what it is whatever else is published, now or later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from study.store.records import AdapterRecord

MOST = 90  # characters of a name; the Hub allows 96
_SHORT = 8  # characters of an adapter's id, which tells those of other recipes apart


def results_name(study: str) -> str:
    return _plain(f"{study}-results", "results")


def adapter_names(study: str, records: Iterable[AdapterRecord]) -> dict[str, str]:
    """A name for each adapter by its id: study, model, source, seed, and how its id begins."""
    return {one.adapter_id: f"{_plain(_words(study, one), 'adapter')}-{one.adapter_id[:_SHORT]}" for one in records}


def _words(study: str, record: AdapterRecord) -> str:
    return f"{study}-{record.model}-{record.called.replace('/', '-')}-seed{record.seed}"


def _plain(name: str, otherwise: str) -> str:
    """Letters, digits, `-`, `_` and single `.`; neither `--` nor `..`, and none of these at an end."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    name = re.sub(r"[-.]{2,}", "-", name)[: MOST - _SHORT - 1].strip("-._")
    return re.sub(r"\.git$", "-git", name) or otherwise
