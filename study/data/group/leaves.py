"""The tasks of lm-eval groups as their files name them; none is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lm_eval.tasks._index import Entry, Kind


def entries(index: Mapping[str, Entry], name: str, within: tuple[str, ...] = ()) -> Iterator[tuple[str, Entry | None]]:
    """What stands under a name, itself first: of a group its tasks, groups and tags too; None for what is nowhere."""
    entry = index.get(name)
    yield name, entry
    if entry is None or name in within:  # lm-eval says what is wrong with a group of itself
        return
    if entry.kind is Kind.TAG:
        for one in sorted(entry.tags):
            yield from entries(index, one, (*within, name))
    elif entry.kind is Kind.GROUP:
        yield from _within(index, entry.cfg or {}, (*within, name))


def _within(
    index: Mapping[str, Entry], config: Mapping[str, Any], within: tuple[str, ...]
) -> Iterator[tuple[str, Entry | None]]:
    tasks = config.get("task")
    for item in tasks if isinstance(tasks, list) else [tasks]:
        if isinstance(item, str):
            yield from entries(index, item, within)
        elif isinstance(item, Mapping):
            named = str(item.get("group", item.get("task")))
            if named in index:
                yield from entries(index, named, within)
            elif "group" in item:  # one that is defined where it stands
                yield from _within(index, item, within)
            else:
                yield named, Entry(named, Kind.TASK, None, dict(item))


def is_group(index: Mapping[str, Entry], name: str) -> bool:
    return name in index and index[name].kind is Kind.GROUP
