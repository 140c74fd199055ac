"""Studies of known truth, item by item: what an adapter gets right that the base got wrong, and the other way round.

An item is right under the base with a chance that varies over items. An adapter of effect δ and discordance ψ turns
wrong items right with chance g / (1 − p) and right items wrong with l / p, where g + l = ψ and g − l = δ, so that its Δ
over all items that could be asked is δ. Which items turn is drawn from a normal score of three parts: the item's (the
same for every adapter of a model, the noise that a column shares beside the base's), the source's (the same under its
seeds) and the adapter's own. Languages of a task ask the same items, as far as `parallel` says. Items of a
passage have a part of the first two scores in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from analysis.inference.items import Column

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
LEAST = 0.01  # accuracies stay this far from 0 and 1


@dataclass(frozen=True)
class World:
    """What is drawn. Proportions: 0.01 is a point."""

    name: str
    effects: str = "null"
    models: int = 1
    tasks: int = 3
    languages: int = 4
    items: tuple[int, ...] = (100,)  # N of the tasks, in turn
    seeds: int = 1
    seed_sd: float = 0.0
    seed_shared: float = 0.5  # share of the variance between seeds that is the same on all targets
    unequal: float = 0.0  # sd over sources of the logarithm of the seed sd
    discordance: tuple[float, float] = (0.05, 0.4)  # range over targets
    column: float = 0.4  # share of the score that is the item's
    source: float = 0.3  # and the source's
    parallel: float = 0.5  # share of the item's part that languages have in common
    base: tuple[float, float] = (2.0, 2.0)  # beta distribution of base accuracies over targets, within .15 … .95
    missing: float = 0.0  # share of cells, of seeds and of items that are absent
    graded: float = 0.0  # skew of items that are graded: sd of the logarithm of their changes; 0: right or wrong
    between: float = 0.0  # sd over models of each effect, as a share of the effects' own sd
    sources: int = 0  # only the first so many are trained on, and only the last so many are targets; 0: all
    targets: int = 0
    diverged: float = 0.0  # what the first seed of the first source loses everywhere; what is true of it, nobody says
    passage: int = 1  # items that hang together, of which reports are told
    alike: float = 0.6  # share of what moves an item that the items of its passage have in common
    metric: str = ""  # of whole targets, ratio or f1, from the same items: whether each is right

    @property
    def cells(self) -> list[tuple[str, str]]:
        return [(f"t{i}", f"l{j}") for i in range(self.tasks) for j in range(self.languages)]

    @property
    def sizes(self) -> list[int]:
        """N of each task."""
        return [self.items[i % len(self.items)] for i in range(self.tasks)]

    @property
    def clusters(self) -> list[int]:
        """How many passages each task's items are of; an item that hangs together with none is its own."""
        return [-(-size // self.passage) for size in self.sizes]


@dataclass(frozen=True)
class Study:
    """One study that was drawn, M models, and what is true of every cell in pp."""

    world: World
    columns: list[list[Column]]  # M × T
    source: list[Ints]  # M: source of each adapter
    of_source: Floats  # M × S × T: over all seeds and items that could be
    of_adapter: Floats  # M × S × T: of the seeds that were trained
    common: Floats  # S × T: what models have in common
    right: list[list[Mask]]  # M × T: N items: whether the base is right
    accuracy: Floats  # M × T: of the base


def effects(world: World, rng: np.random.Generator) -> Floats:
    """S × T effects, before they are kept within what accuracies allow."""
    n = len(world.cells)
    same = np.array([[a[0] == b[0] for b in world.cells] for a in world.cells])
    hit, size, shape = rng.random((n, n)), rng.random((n, n)), (n, n)
    made = {
        "null": np.zeros(shape),
        "gains": np.where(hit < 0.6, 0.02 + 0.08 * size, 0.0) + 0.03 * same,
        "mild": np.where(hit < 0.4, -0.004 - 0.026 * size, 0.01 * size),
        "mixed": np.where(hit < 0.25, -0.02 - 0.1 * size, np.where(hit < 0.6, 0.01 + 0.09 * size, 0.0)),
        "at harm": np.full(shape, -0.0099),
        "one harm": np.where(_pair(world, "t0", "t1"), -0.1, 0.0),
        "heavy": 0.015 * (rng.standard_t(3, shape) + rng.standard_t(3, (n, 1)) + rng.standard_t(3, (1, n))),
        "additive": 0.02 * rng.normal(size=(n, 1)) + 0.04 * rng.normal(size=(1, n)) + 0.03 * rng.normal(size=shape),
    }
    return np.asarray(made[world.effects])


def _pair(world: World, source: str, target: str) -> Mask:
    """S × T: whether a cell is of this pair of tasks."""
    return np.array([[(a[0], b[0]) == (source, target) for b in world.cells] for a in world.cells])


def draw(world: World, seed: int) -> Study:
    """One study of the world."""
    rng = np.random.default_rng(seed)
    common = effects(world, rng)
    spread = world.between * max(float(common.std()), 0.01)
    made = [_model(world, common + spread * rng.normal(size=common.shape), rng) for _ in range(world.models)]
    return Study(
        world,
        [one.columns for one in made],
        [one.source for one in made],
        np.array([one.of_source for one in made]),
        np.array([one.of_adapter for one in made]),
        100 * common[kept(world)],
        [one.right for one in made],
        np.array([one.accuracy for one in made]),
    )


def kept(world: World) -> tuple[slice, slice]:
    """Rows and columns of S × T that the study has."""
    n = len(world.cells)
    return slice(world.sources or n), slice(n - (world.targets or n), n)


@dataclass(frozen=True)
class _Model:
    """The parts of a `Study` of one model."""

    columns: list[Column]
    source: Ints
    of_source: Floats
    of_adapter: Floats
    right: list[Mask]
    accuracy: Floats


def _model(world: World, effect: Floats, rng: np.random.Generator) -> _Model:
    n, k = len(world.cells), world.seeds
    accuracy = 0.15 + 0.8 * rng.beta(*world.base, n)
    low, high = LEAST - accuracy, 1 - LEAST - accuracy
    sd = world.seed_sd * np.exp(world.unequal * rng.normal(size=n) - world.unequal**2)
    together, apart = rng.normal(size=(n, k, 1)), rng.normal(size=(n, k, n))
    moved = sd[:, None, None] * (np.sqrt(world.seed_shared) * together + np.sqrt(1 - world.seed_shared) * apart)
    moved[0, 0] -= world.diverged
    each = np.clip(effect[:, None] + moved, low, high)
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    over_seeds = np.clip(effect[..., None] + sd[:, None, None] * nodes, low[:, None], high[:, None]) @ weights
    if world.diverged:
        over_seeds[0] = np.nan
    there = rng.random((n, k)) >= world.missing
    there[~there.any(axis=1), 0] = True
    absent = rng.random((n, n)) < world.missing
    columns, right = _columns(world, (accuracy, each), rng)
    sources, targets = here = kept(world)
    there[sources.stop :] = False
    rows = there.ravel()
    finished = [_missing(world, column, absent[:, t], rows, rng) for t, column in enumerate(columns)]
    trained = (each * there[:, :, None])[sources].sum(axis=1) / there[sources].sum(axis=1)[:, None]
    source = np.repeat(np.arange(n), k)[rows]
    truth = (100 * over_seeds / weights.sum())[here]
    return _Model(finished[targets], source, truth, 100 * trained[:, targets], right[targets], accuracy[targets])


def _columns(world: World, chances: tuple[Floats, Floats], rng: np.random.Generator) -> tuple[list[Column], list[Mask]]:
    """Differences on all items, and where the base is right."""
    accuracy, each = chances
    discordance = rng.uniform(*world.discordance, len(accuracy))
    starts = np.cumsum([0, *world.clusters])
    common = [_of_passages(world, (2, size), rng) for size in world.sizes]
    columns, right = [], []
    for t, (task, _) in enumerate(world.cells):
        number = int(task[1:])
        own = _of_passages(world, (2, world.sizes[number]), rng)
        of_items = np.sqrt(world.parallel) * common[number] + np.sqrt(1 - world.parallel) * own
        make = _graded if world.graded else _turned
        turned = make(world, of_items, (accuracy[t], discordance[t], each[:, :, t]), rng)
        clusters = starts[number] + np.arange(world.sizes[number]) // world.passage
        columns.append(Column(turned, np.arange(len(turned)), clusters, number, graded=bool(world.graded)))
        right.append(of_items[0] < ndtri(accuracy[t]))
    return columns, right


def _turned(
    world: World, of_items: Floats, chances: tuple[float, float, Floats], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Differences of every adapter (sources times seeds) on the items of one target, in pp."""
    accuracy, discordance, delta = chances
    score = _scores(world, of_items, delta.shape, rng)
    gain = np.minimum((np.maximum(discordance, np.abs(delta)) + delta) / 2, 1 - accuracy)
    loss = np.minimum(gain - delta, accuracy)
    up, down = (ndtri(np.clip(share, 0, 1))[:, :, None] for share in ((loss + delta) / (1 - accuracy), loss / accuracy))
    right = of_items[0] < ndtri(accuracy)
    return np.where(right, -100.0 * (score < down), 100.0 * (score < up)).astype(np.float32).reshape(-1, score.shape[2])


def _graded(
    world: World, of_items: Floats, chances: tuple[float, float, Floats], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """The same of items that are graded: changes are lognormal about their mean, skewed up or down by target."""
    accuracy, discordance, delta = chances
    score = _scores(world, of_items, delta.shape, rng)
    sign = 1 if accuracy > 0.5 else -1
    changed = sign * discordance * (np.exp(world.graded * score - world.graded**2 / 2) - 1)
    return (100 * (delta[:, :, None] + changed)).astype(np.float32).reshape(-1, score.shape[2])


def _scores(world: World, of_items: Floats, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """The normal score of every source, seed and item."""
    (s, k), n = shape, of_items.shape[1]
    own = rng.standard_normal((s, k, n), np.float32)
    score = np.sqrt(world.column) * of_items[1] + np.sqrt(world.source) * _of_passages(world, (s, 1, n), rng)
    return np.asarray(score + np.sqrt(1 - world.column - world.source) * own)


def _of_passages(world: World, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Standard normals, the last axis that of items, of which those of a passage have their share in common."""
    drawn = rng.normal(size=shape)
    if world.passage == 1:
        return drawn
    together = rng.normal(size=(*shape[:-1], -(-shape[-1] // world.passage))).repeat(world.passage, axis=-1)
    return np.asarray(np.sqrt(world.alike) * together[..., : shape[-1]] + np.sqrt(1 - world.alike) * drawn)


def _missing(world: World, column: Column, absent: Mask, rows: Mask, rng: np.random.Generator) -> Column:
    """Without the sources and adapters that are absent, and without some items."""
    difference = column.difference
    if world.missing:
        difference = np.where(rng.random(difference.shape) < world.missing, np.nan, difference)
        difference[np.repeat(absent, world.seeds)] = np.nan
    kept = difference[rows].astype(np.float32)
    return Column(kept, np.arange(len(kept)), column.cluster, column.task, graded=column.graded)
