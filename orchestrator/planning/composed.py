"""Combinations of the config as adapters: of each model and seed, with what they are put together of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from study.cells import Cell, Source
from study.composition import Composition, Search, Term, gathered
from study.config import StudyConfig
from study.config.composition import CompositionConfig, TermConfig
from study.config.expansion import Combination, combinations
from study.errors import ConfigError
from study.models.resolve import Model
from study.units import AdapterUnit, ComposedAdapter, GivenAdapter

_ROLES = {"task": (1.0, 0.0), "target": (0.0, 1.0), "reference": (0.0, -1.0)}  # weights a + b * lambda, AdaMergeX eq. 5
Part = AdapterUnit | GivenAdapter
Way = tuple[int | None, str | None]  # seed and recipe of trained parts
Of = tuple[str, int | None, str | None]  # a model, and these


@dataclass(frozen=True)
class Composed:
    """What a combination is called, and the adapter that it comes to; two may come to one."""

    combination: Combination
    strength: float | None
    adapter: ComposedAdapter

    def row(self) -> dict[str, object]:
        """A row of study.store.schema.COMPOSITIONS."""
        one, keys = self.adapter, self.combination.keys
        terms = [
            {"subject_id": term.adapter_id, "source": _called(part), "weight": self._weight(term)}
            for term, part in zip(one.composition.terms, one.parts, strict=True)
        ]
        return {
            "adapter_id": one.adapter_id,
            "name": self.combination.name,
            "model": one.model,
            "seed": one.seed,
            "method": keys.method + " (searched)" * (keys.weights is not None),
            "strength": self.strength,
            "protocol": keys.protocol,
            "language": self.combination.language,
            "terms": terms,
            "recipe": one.recipe,
            "family": self.combination.family,
        }

    def _weight(self, term: Term) -> float | None:
        """What a term counts, on average over layers; None before it is searched."""
        return None if self.adapter.composition.search else term.weight * _mean(term.layers)


def composed(
    config: StudyConfig,
    models: Sequence[Model],
    trained: Sequence[AdapterUnit],
    existing: Sequence[GivenAdapter],
    searched_on: Mapping[tuple[Cell, int], str],
    recipes: Sequence[tuple[str, str]] = (),
) -> list[Composed]:
    """All combinations whose parts the study has, each of one recipe's adapters: `recipes` says of which all are.

    One of a source whose data are broken is left out, as all is that is learned from it. Raises ConfigError for one
    that cannot be put together.
    """
    by_source: dict[Of, dict[Source, AdapterUnit]] = {}
    of: dict[str, list[str]] = {}
    for adapter_id, recipe in recipes:
        of.setdefault(adapter_id, []).append(recipe)
    for unit in trained:
        for name in of.get(unit.adapter_id, [None]):
            by_source.setdefault((unit.model, unit.seed, name), {})[unit.source] = unit
    ways: list[Way] = [(seed, name) for seed in config.seeds for name in config.trained_by]
    given = {(adapter.model, adapter.name): adapter for adapter in existing}
    found = []
    for wanted in combinations(config):
        search = _search(wanted, searched_on)
        if wanted.cell is not None and search is None:
            continue
        for model in models:
            for way in ways if any(isinstance(part, Source) for part in wanted.parts) else [(None, None)]:
                parts = _parts(wanted, model, by_source.get((model.name, *way), {}), given)
                if parts is not None:
                    found += [
                        Composed(wanted, strength, _adapter(wanted, model, way, strength, parts, search))
                        for strength in wanted.keys.strengths
                    ]
    return found


def _parts(
    wanted: Combination,
    model: Model,
    own: Mapping[Source, AdapterUnit],
    given: Mapping[tuple[str, str], GivenAdapter],
) -> list[Part] | None:
    """The adapter of each term; None where the study does not have one. An adapter that exists is of one model."""
    found: list[Part | None] = [
        own.get(part) if isinstance(part, Source) else given.get((model.name, part)) for part in wanted.parts
    ]
    there = [part for part in found if part is not None]
    return there if len(there) == len(found) else None


def _adapter(
    wanted: Combination,
    model: Model,
    way: Way,
    strength: float | None,
    parts: Sequence[Part],
    search: Search | None,
) -> ComposedAdapter:
    keys = wanted.keys
    terms = gathered(
        _term(keys, term, part, strength, model, wanted.key) for term, part in zip(keys.terms, parts, strict=True)
    )
    if not terms:
        at = "" if strength is None else f", at lambda {strength:g}"
        fix = "leave that value out of the grid" if keys.protocol else "change the weights"
        raise ConfigError(f"{wanted.key}.terms", wanted.name, f"all weights come to 0{at}", fix)
    made = replace(_composition(keys, terms), search=search)
    known = {part.adapter_id: part for part in parts}
    ordered = tuple(known[term.adapter_id] for term in terms)
    return ComposedAdapter(made.identity, model.name, wanted.name, made, ordered, way[0], strength, way[1])


def _search(wanted: Combination, searched_on: Mapping[tuple[Cell, int], str]) -> Search | None:
    """On what weights are searched, and how; None where they are given, or where the examples are broken."""
    if wanted.keys.weights is None or wanted.cell is None:
        return None
    keys = wanted.keys.weights.search
    named = searched_on.get((wanted.cell, keys.examples))
    if named is None:
        return None
    return Search(str(wanted.cell), named, keys.examples, keys.budget, keys.bound, keys.l1)


def _composition(keys: CompositionConfig, terms: tuple[Term, ...]) -> Composition:
    """The method as resolved: a sum is a sum whatever its weights come from, and of a rank it is the best of that."""
    method, rank = keys.method, keys.rank
    if method in ("sum", "adamergex", "layers"):
        return Composition("sum" if rank in (None, "full") else "svd", terms, None if rank == "full" else rank)
    if method in ("ties", "dare", "dare_ties"):
        rank = rank or "full"
    return Composition(
        method,  # type: ignore[arg-type]  # the two that only a config knows are above
        terms,
        rank,
        keys.density,
        1.0 if keys.scale is None else keys.scale,
        keys.draw or 0,
        keys.trim or "adapter",
        (keys.top_k or 3) if method == "arrow" else None,  # PEFT's defaults
        (keys.temperature or 1.0) if method == "arrow" else None,
    )


def _term(
    keys: CompositionConfig, term: TermConfig, part: Part, strength: float | None, model: Model, key: str
) -> Term:
    a, b = _ROLES[str(term.role)] if term.role else term.line
    weight = _at(a, b, strength or 0.0)
    if term.layers is None:
        return Term(part.adapter_id, weight)
    count = model.layers
    if isinstance(term.layers, tuple):
        if len(term.layers) != count:
            problem = f"has {len(term.layers)} weights, and {model.name} {count} layers"
            raise ConfigError(f"{key}.terms.layers", list(term.layers), problem, "give one per layer")
        return Term(part.adapter_id, weight, term.layers)
    middle = _middle(count, keys.bottom or 0, keys.top or 0, keys.transition or 0, key)
    if term.layers == "middle":
        return Term(part.adapter_id, weight, middle)
    return Term(part.adapter_id, weight, tuple(1 - one for one in middle), 0.0)


def _at(a: float, b: float, strength: float) -> float:
    """The weight a + b * lambda of the decimals as they are written: 1 - 0.9 is the 0.1 that may stand elsewhere."""
    return float(Decimal(repr(a)) + Decimal(repr(b)) * Decimal(repr(strength)))


def _middle(count: int, bottom: int, top: int, transition: int, key: str) -> tuple[float, ...]:
    """Layer swapping's weights of the middle: 1 in [bottom, count - top), halves in `transition` layers within it."""
    if bottom + top + 2 * transition > count:
        problem = f"bottom {bottom}, top {top} and transition {transition} leave no middle of {count} layers"
        raise ConfigError(key, "layers", problem, "make them smaller")
    low, high = bottom, count - top
    inner = range(low + transition, high - transition)
    return tuple(1.0 if i in inner else 0.5 if low <= i < high else 0.0 for i in range(count))


def _mean(layers: tuple[float, ...]) -> float:
    return sum(layers) / len(layers) if layers else 1.0


def _called(part: Part) -> str:
    return part.name if isinstance(part, GivenAdapter) else str(part.source)
