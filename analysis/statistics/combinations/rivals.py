"""Whom a source of several cells, a stage, or one that was kept near the base stands beside.

- The mean of the single sources of its cells; together they read about as many tokens in training as it did.
- A stage has learned the cells that came before it, too; it stands beside what it begins with, its own cells begun
  afresh, and the joint source of all its cells as well.
- Where the study has several recipes, the same source by the first of them, seed by seed on the same items.
- The best of the plain single sources, of any recipe, that read as many tokens as it did. For every target it is found
  on other items and seeds than it is measured on (`gains`), so that its luck does not flatter it. A target's own cell
  is among them where the source has learned it, too.

Seeds of what is compared across recipes are pooled over all such sources of a model, whatever their recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import TARGET
from analysis.inference.items import Floats, Grid
from analysis.inference.means import Interval, means, within_model
from analysis.inference.seeds import SeedSpread, seed_spread
from analysis.reading.grids import ModelGrid
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.combinations.gains import Beside, Seeds, beside
from analysis.statistics.combinations.learned import Learned, learned
from analysis.statistics.combinations.reported import all_scales, within

SINGLE = "single sources of its cells"
AS_MUCH = "the best single source of as many tokens"
Bools = npt.NDArray[np.bool_]


def bools(values: Iterable[bool]) -> Bools:
    return np.array([*values], bool)


@dataclass(frozen=True)
class Rival:
    """What stands beside a source: the tokens it read, its Δ on the source's targets, a row for each of several."""

    what: str
    tokens: float | None
    deltas: Floats
    more: Callable[[Bools], Interval]  # the mean of what the source has more on some of its targets
    seeds_known: bool  # whether what another seed would change is in its intervals


def at_home(one: ModelGrid, mine: Learned, there: Sequence[Learned]) -> Iterator[Rival]:
    """The rivals that its own recipe has, which are of the same grid."""
    row, at = one.sources.index(mine.name), {name: i for i, name in enumerate(one.sources)}
    for what, others in _of_one_recipe(mine, there):
        rows = [at[other.name] for other in others]
        both = one.there[row] & one.there[rows].all(axis=0) & bool(rows)
        sign = np.zeros(len(one.sources))
        sign[row] = 1.0
        sign[rows] -= 1 / max(len(rows), 1)
        more, seeds = _mean_of(one.grid, one.cells.seeds, sign, both), one.cells.seeds.known
        tokens = sum(other.tokens for other in others) if others else None
        yield Rival(what, tokens, one.grid.delta[rows], more, seeds)


def _of_one_recipe(mine: Learned, there: Sequence[Learned]) -> Iterator[tuple[str, Sequence[Learned]]]:
    """The single sources of its cells, and more beside a stage; of each all, or nothing."""
    alone = {other.cells[0]: other for other in there if other.is_plain and len(other.cells) == 1}
    whole = len(mine.cells) > 1 and alone.keys() >= set(mine.cells)
    yield SINGLE, [alone[cell] for cell in mine.cells] if whole else []
    if mine.is_plain:
        return
    plain = [other for other in there if other.is_plain and other is not mine]
    named = {
        "what it begins with": [other for other in there if str(other.source) == mine.source.start],
        "its own cells alone": [other for other in plain if other.cells == mine.source.own],
        "its cells together": [
            other for other in plain if len(other.cells) > 1 and set(other.cells) == set(mine.cells)
        ],
    }
    yield from ((what, others[:1]) for what, others in named.items() if others)


def _mean_of(grid: Grid, spread: SeedSpread, sign: Floats, both: Bools) -> Callable[[Bools], Interval]:
    """Means over targets of sums of sources by their signs."""

    def more(targets: Bools) -> Interval:
        kept = targets & both
        weights = np.outer(sign, kept / max(kept.sum(), 1))
        return within_model(means(grid, spread, weights[None]))

    return more


class Abroad:
    """The rivals that sources have in any recipe of a study."""

    def __init__(self, study: Study) -> None:
        studies = study.across.studies if study.across else {study.recipe: study}
        self._whole = study.across.whole if study.across else study
        self._known = {recipe: learned(one) for recipe, one in studies.items()}
        self._first = next(iter(studies))
        self._named = {AS_MUCH: self._as_much}
        if study.across:
            self._named = {f"the same source by {self._first}": self._by_first} | self._named
        trained = self._whole.units.filter(pl.col("kind") == "trained")
        self._units = {
            (adapter, task, language): (seed, unit)
            for adapter, task, language, seed, unit in trained.select("adapter_id", *TARGET, "seed", "unit").iter_rows()
        }
        self._made: dict[tuple[str, str, str], Beside | None] = {}

    def of(self, one: ModelGrid, metric: str, mine: Learned) -> Iterator[Rival]:
        for what, others in self._named.items():
            if (one.model, metric, what) not in self._made:
                self._made[one.model, metric, what] = self._compared(one.model, metric, what)
            made, name = self._made[one.model, metric, what], self._name(one.model, mine)
            rivals = others(one.model, mine)
            if made is not None and rivals and any(source == name for source, _ in made.best):
                yield _rival(one, mine, (what, float(np.mean([other.tokens for other in rivals.values()]))), made, name)

    def _compared(self, model: str, metric: str, what: str) -> Beside | None:
        """All special sources of a model, of whatever recipe, beside what they have of one sort of rival."""
        [scale] = [scale for scale in all_scales(self._whole) if scale.metric == metric]
        special = {
            adapter: mine
            for known in self._known.values()
            for mine in known.get(model, ())
            if mine.is_special and self._named[what](model, mine)
            for adapter in mine.adapters
        }
        rows = within(self._whole.units.filter(pl.col("adapter_id").is_in([*special])), scale.panels)
        if not rows.height:
            return None
        names = {adapter: self._name(model, mine)[0] for adapter, mine in special.items()}
        rows = rows.with_columns(pl.col("adapter_id").replace_strict(names).alias("source_task"))

        def others(panel: Panel, group: pl.DataFrame) -> Mapping[str, Seeds]:
            mine = special[group["adapter_id"][0]]
            named = self._named[what](model, mine)
            known = {name: self._seeds(other, panel) for name, other in named.items() if _may(other, mine, panel)}
            return {name: seeds for name, seeds in known.items() if seeds}

        return beside(scale, rows, others)

    def _seeds(self, one: Learned, panel: Panel) -> Seeds:
        placed = (self._units.get((adapter, panel.task, panel.language)) for adapter in sorted(one.adapters))
        return dict(found for found in placed if found)

    def _name(self, model: str, mine: Learned) -> tuple[str, str]:
        """What it is called among the sources of all recipes; those that two recipes share once."""
        [recipe, *_] = [name for name, known in self._known.items() if mine.adapters in _whose(known.get(model, ()))]
        return f"{recipe}: {mine.source.task}", mine.source.language

    def _by_first(self, model: str, mine: Learned) -> Mapping[str, Learned]:
        same = [one for one in self._known[self._first].get(model, ()) if one.name == mine.name]
        return {str(self._first): one for one in same if one.adapters != mine.adapters}

    def _as_much(self, model: str, mine: Learned) -> Mapping[str, Learned]:
        found = {
            one.adapters: (f"{one.source} by {recipe}", one)
            for recipe, known in self._known.items()
            for one in known.get(model, ())
            if not one.is_special and one.reads_as_much_as(mine)
        }
        return dict(found.values())


def _whose(known: Sequence[Learned]) -> set[frozenset[str]]:
    return {one.adapters for one in known}


def _may(other: Learned, mine: Learned, panel: Panel) -> bool:
    """Whether it stands beside a source on a target: one that has learned the target only beside one that has, too."""
    own = (panel.task, panel.language)
    return own != other.name or own in {(cell.task, cell.language) for cell in mine.cells}


def _rival(one: ModelGrid, mine: Learned, about: tuple[str, float], made: Beside, name: tuple[str, str]) -> Rival:
    """What was compared across recipes, for a source on the targets of its own grid."""
    row, at = made.sources.index(name), {target: i for i, target in enumerate(made.targets)}
    difference = np.array([made.grid.delta[row, at[target]] if target in at else np.nan for target in one.targets])
    deltas = one.grid.delta[[one.sources.index(mine.name)]] - difference
    sign = np.eye(len(made.sources))[row]
    spread = seed_spread(made.grid)
    whole = _mean_of(made.grid, spread, sign, ~np.isnan(made.grid.delta[row]))

    def more(targets: Bools) -> Interval:
        wanted = {target for target, is_one in zip(one.targets, targets, strict=True) if is_one}
        return whole(bools(target in wanted for target in made.targets))

    return Rival(*about, deltas, more, spread.known)
