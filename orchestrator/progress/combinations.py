"""What a plan says of stages and combinations: their parts, what is trained for them alone, what a lambda adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.planning.grid import Grid
from study.cells import Source
from study.config import StudyConfig
from study.config.composition import TermConfig
from study.config.expansion import Combination, choices, combinations


def lines(grid: Grid) -> Iterator[str]:
    """Give them, stages first; none where there is neither."""
    yield from _stages(grid)
    if not grid.names:
        return
    wanted = list(dict.fromkeys(one.combination for one in grid.names))
    yield f"combinations: {len(wanted):,}, which are {len(grid.composed):,} adapters to put together and none to train"
    for one in wanted:
        yield f"  {one.name} = {_how(one)}"
    parts = {part.adapter_id for one in grid.composed for part in one.parts} & grid.silent
    silent = list(dict.fromkeys(str(unit.source) for unit in grid.adapters if unit.adapter_id in parts))
    if silent:
        yield f"trained as parts alone, and scored on nothing: {', '.join(silent)} ({len(parts):,} adapters)"
    if grid.held_out:
        apart = set(grid.held_out)
        count = sum(grid.target_ids[i] in apart for part in grid.parts() for i in part.targets)
        yield f"to choose lambda: {count:,} scores on items that are held out"
        for one in wanted:
            seen = [str(part) for part in one.parts if not isinstance(part, Source) or _may_have_seen(part)]
            if one.keys.protocol and seen:
                yield (
                    f"  {one.name}: {', '.join(seen)} may have learned from some of them: what is trained on one cell "
                    "holds them out, a joint source holds out others, and of an adapter made elsewhere nobody knows"
                )


def unreported(config: StudyConfig) -> Iterator[str]:
    """Give a line for combinations that are not reported on some targets, as nothing there chooses their lambda."""
    wanted = [] if config.trial_run else combinations(config)
    left = choices(config, wanted).left
    alike: dict[tuple[str, str], list[str]] = {}
    for one in wanted:
        if cells := left.get(one.name):
            alike.setdefault((str(one.keys.protocol), ", ".join(map(str, cells))), []).append(one.name)
    for (protocol, targets), names in alike.items():
        yield f"no lambda of {', '.join(names)} is chosen for {targets}: {protocol} finds no held-out items that tell"


def _stages(grid: Grid) -> Iterator[str]:
    """Give a line for each source that trains on from an adapter, or has changed data; and what is to begin with."""
    begun = dict.fromkeys(unit.source for unit in grid.adapters if unit.start is not None)
    if begun:
        yield f"stages: {len(begun):,} sources train on from an adapter"
    for source in begun:
        yield f"  {source} begins with {source.start}"
    changed = dict.fromkeys(unit.source for unit in grid.adapters if unit.source.change is not None)
    if changed:
        yield f"changed data: {len(changed):,} sources learn from others than their cells' own"
    for source in changed:
        yield f"  {source}: {source.change}"
    starts = {unit.waits_for for unit in grid.adapters} & grid.silent
    silent = dict.fromkeys(str(unit.source) for unit in grid.adapters if unit.adapter_id in starts)
    if silent:
        yield f"trained to begin with alone, and scored on nothing: {', '.join(silent)} ({len(starts):,} adapters)"


def _may_have_seen(source: Source) -> bool:
    """Whether what training on a cell holds out may have been learned from: by cells together, or nobody knows."""
    return source.root is not None or any(len(one.cells) > 1 for one in source.line)


def _how(one: Combination) -> str:
    keys = one.keys
    terms = [_term(term, part) for term, part in zip(keys.terms, one.parts, strict=True)]
    numbers = ("rank", "density", "scale", "draw", "trim", "bottom", "top", "transition", "top_k", "temperature")
    told = [f"{name} {value}" for name in numbers if (value := getattr(keys, name)) is not None]
    if keys.strength is not None:
        values = ", ".join(f"{value:g}" for value in keys.strengths if value is not None)
        told.append(f"lambda {values}" + (f" by {keys.protocol}" if keys.protocol else ""))
    return f"{keys.method}({', '.join([*terms, *told])})"


def _term(term: TermConfig, part: Source | str) -> str:
    weight = f"{term.weight:g}" if isinstance(term.weight, float) else term.weight
    marks = [str(mark) for mark in (term.role, _layers(term.layers)) if mark is not None]
    return " ".join(([] if weight == "1" else [weight, "*"]) + [str(part)] + [f"({mark})" for mark in marks])


def _layers(layers: str | Sequence[float] | None) -> str | None:
    return layers if layers is None or isinstance(layers, str) else "by layer"
