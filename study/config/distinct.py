"""What may not stand twice: names in a list, and sources that results or adapters could not tell from one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from study.cells import Source
from study.errors import ConfigError


def reject_duplicates(key: str, names: list[str]) -> None:
    """Raise ConfigError for a name that is listed more than once."""
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(key, name, "is listed more than once", "list it once")


def check_sources(sources: Sequence[Source]) -> None:
    """Raise ConfigError for sources without a cell, or two of one name, or two that come to one adapter."""
    reject_duplicates("sources", [str(source) for source in sources])
    for source in sources:
        reject_duplicates(f"sources, in {source}", [str(cell) for cell in source.cells])
    if any(len(source.cells) == 0 for source in sources):
        raise ConfigError("sources", "[]", "a source without a cell", "list at least one task/language in it")
    named: dict[tuple[str, str], Source] = {}
    made: dict[object, Source] = {}
    for source in sources:
        other = named.setdefault((source.task, source.language), source)
        if other is not source:
            problem = f"is called {source.task} in {source.language} in the results, as {other} is"
            raise ConfigError(
                "sources", source, problem, "list its cells in another order, or leave one of the two out"
            )
        other = made.setdefault(_comes_to(source), source)
        if other is not source:
            raise ConfigError("sources", source, f"comes to the same adapters as {other}", "leave one of the two out")


def _comes_to(source: Source | str | None) -> object:
    """A source without the names of its stages, which decide nothing."""
    return (source.cells, source.change, _comes_to(source.start)) if isinstance(source, Source) else source
