"""What a plan says of combinations: their parts, what is trained for them alone, what choosing a lambda adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.planning.grid import Grid
from study.cells import Source
from study.config.composition import TermConfig
from study.config.expansion import Combination


def lines(grid: Grid) -> Iterator[str]:
    """Give them, none where there is no combination."""
    if not grid.names:
        return
    wanted = list(dict.fromkeys(one.combination for one in grid.names))
    yield f"combinations: {len(wanted):,}, which are {len(grid.composed):,} adapters to put together and none to train"
    for one in wanted:
        yield f"  {one.name} = {_how(one)}"
    silent = list(dict.fromkeys(str(unit.source) for unit in grid.adapters if unit.adapter_id in grid.silent))
    if silent:
        yield f"trained as parts alone, and scored on nothing: {', '.join(silent)} ({len(grid.silent):,} adapters)"
    if grid.held_out:
        apart = set(grid.held_out)
        count = sum(grid.target_ids[i] in apart for part in grid.parts() for i in part.targets)
        yield f"to choose lambda: {count:,} scores on items that are held out"
        for one in wanted:
            seen = [str(part) for part in one.parts if not isinstance(part, Source) or len(part.cells) > 1]
            if one.keys.protocol and seen:
                yield (
                    f"  {one.name}: {', '.join(seen)} may have learned from some of them: what is trained on one cell "
                    "holds them out, a joint source holds out others, and of an adapter made elsewhere nobody knows"
                )


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
