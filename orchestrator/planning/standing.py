"""Where a study stands, by model: what of it is done, stale, kept as it failed, and to do.

The plan of a config says so, and so does a store by itself, of the config that was run last; both count alike. Done,
failed and to do add up to the grid. An adapter that failed takes its scores with it. Stale is what belongs to an older
config; failed is what the next run would leave as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from orchestrator.failures import lasting
from orchestrator.planning.plan import Plan
from orchestrator.planning.spent import NUMBERS, TEXTS, Spent
from study.cells import Cell
from study.choosing import tried_of, tried_on
from study.identity import score_id
from study.store.composed import compositions, held_out, starts
from study.store.coverage import Coverage
from study.store.layout import of_epoch
from study.store.parts import undisturbed
from study.store.readable import no_study
from study.store.records import FailureRecord
from study.store.schema import TARGETS
from study.store.store import Store


@dataclass(frozen=True)
class Tally:
    done: int
    stale: int
    failed: int
    to_do: int


@dataclass(frozen=True)
class Standing:
    model: str
    adapters: Tally
    scores: Tally


@dataclass(frozen=True)
class ToDo:
    """What a store's grid still asks for. Rows are its subjects, columns its targets.

    `subjects` has the columns of study.store.schema.SUBJECTS; `train` are those to train, `score` the scores to make.
    `took` is what those that are made took (orchestrator.planning.spent).
    """

    subjects: pl.DataFrame
    targets: pl.DataFrame
    train: np.ndarray
    score: np.ndarray
    took: pl.DataFrame


def of_plan(plan: Plan) -> list[Standing]:
    adapters = Counter(unit.model for unit in plan.grid.adapters)
    scores: Counter[str] = Counter()
    for part in plan.grid.parts():
        scores[part.model.name] += len(part.targets)
    train, score = plan.counts()
    return [
        Standing(
            name,
            _tally(adapters[name], plan.stale_adapters[name], plan.kept_adapters[name], train[name]),
            _tally(scores[name], plan.stale_scores[name], plan.kept_scores[name], score[name]),
        )
        for name in (model.name for model in plan.grid.models)
    ]


def of_store(store: Store) -> tuple[list[Standing], ToDo]:
    """Where the study of a store stands, by the store alone. Raises ConfigError for one without a grid."""
    grid = store.read_grid()
    if grid is None:
        raise no_study("STORE", store.uri)
    subjects, targets = (pl.DataFrame(pl.from_arrow(table)) for table in grid)
    made = pl.DataFrame(pl.from_arrow(compositions(store)))
    trained, failures = store.trained(), lasting(store.failures())
    names = subjects["subject_id"].to_list()
    coverage, took = undisturbed(lambda: covered(store, names, targets["target_id"].to_list()))
    asked = _asked(subjects, targets, made, held_out(store))
    is_epoch = subjects["epoch"].is_not_null()
    if is_epoch.any():  # a kept epoch has the scores of its adapter
        kept = [record.kept_id for record in store.records().values()]
        coverage.there[subjects["subject_id"].is_in(kept).to_numpy()] = True
    missing = ~coverage.there & asked
    other = subjects["subject_id"].is_in(made["adapter_id"].to_list()) | is_epoch
    ours = (subjects["seed"].is_not_null() & ~other).to_numpy()  # others are a base, or were trained elsewhere
    wanted = missing.any(axis=1) if len(targets) else np.ones(len(names), dtype=bool)
    line = _Line(subjects["model"].to_list(), names, ours, made, pl.DataFrame(pl.from_arrow(starts(store))))
    line.parts |= {name: {of_epoch(name)} for name in subjects.filter(is_epoch)["subject_id"]}
    to_train = line.to_train({name for name, is_wanted in zip(names, wanted, strict=True) if is_wanted}, trained)
    lost = line.lost(to_train, failures)
    gone = np.array([not lost.isdisjoint((name, *line.parts.get(name, ()))) for name in names], dtype=bool)
    failed = missing & (gone[:, None] | _failed_scores(names, targets["target_id"].to_list(), failures.values()))
    models = subjects["model"].to_numpy()
    stale_scores = coverage.stale()
    stale = Counter(trained[name] for name in trained.keys() - line.models.keys())
    rows = []
    for model in dict.fromkeys(models.tolist()):
        own = models == model
        mine = {name for name, of in line.models.items() if of == model}
        adapters = len(mine), stale[model], len(mine & lost), len(mine & to_train - lost)
        open_scores = int((missing & ~failed)[own].sum())
        scores = int(asked[own].sum()), stale_scores[model], int(failed[own].sum()), open_scores
        rows.append(Standing(model, _tally(*adapters), _tally(*scores)))
    train = np.array([name in to_train and name not in lost for name in names], dtype=bool)
    return rows, ToDo(subjects, targets, train, missing & ~failed, took)


class _Line:
    """What of a grid is trained, with its model, also where it is scored on nothing; what each adapter comes after."""

    def __init__(
        self, models: Sequence[str], names: Sequence[str], ours: np.ndarray, made: pl.DataFrame, begun: pl.DataFrame
    ) -> None:
        scored = set(names)
        self.models = {name: model for name, model, own in zip(names, models, ours, strict=True) if own}
        self.parts = {row["adapter_id"]: {term["subject_id"] for term in row["terms"]} for row in made.to_dicts()}
        for row in made.to_dicts():
            self.models |= dict.fromkeys(self.parts[row["adapter_id"]] - scored, row["model"])
        self._starts = dict(zip(begun["adapter_id"], begun["start_id"], strict=True))
        for follower, model, start in begun.select("adapter_id", "model", "start_id").rows():
            for name in {follower, start} - scored:
                self.models[name] = model

    def to_train(self, wanted: Collection[str], trained: Collection[str]) -> set[str]:
        """What of it is to be trained for the scores of these subjects."""
        needed = {one for name in wanted for one in (name, *self.parts.get(name, ()))}
        found: set[str] = set()
        while needed:
            found |= (needed & self.models.keys()) - set(trained)
            needed = {self._starts[name] for name in found if name in self._starts} - found - set(trained)
            needed &= self.models.keys()
        return found

    def lost(self, to_train: Collection[str], failures: Collection[str]) -> set[str]:
        """What of that has failed, or begins with what has."""
        found: set[str] = set()
        more = {name for name in to_train if name in failures}
        while more:
            found |= more
            more = {name for name in to_train if self._starts.get(name) in found} - found
        return found


def _asked(subjects: pl.DataFrame, targets: pl.DataFrame, made: pl.DataFrame, apart: list[str]) -> np.ndarray:
    """Which scores are asked for: of items to choose a lambda on those of bases, and those that a choice reads."""
    held = set(apart)
    cells = [Cell(task, language, name in held) for name, task, language in targets.select(TARGETS.names).rows()]
    is_apart = np.array([cell.held_out for cell in cells], dtype=bool)
    asked = np.asarray(subjects["adapter_id"].is_null().to_numpy()[:, None] | ~is_apart[None, :])
    tried = tried_on(tried_of(made.to_dicts()), cells)
    for i, name in enumerate(subjects["subject_id"]):
        asked[i, tried.get(name, [])] = True
    return asked


def covered(store: Store, subjects: Sequence[str], targets: Sequence[str]) -> tuple[Coverage, pl.DataFrame]:
    """Which scores a store has, and what its scores took."""
    spent = Spent()
    return Coverage(subjects, targets, spent.passing(store.scored(TEXTS, NUMBERS))), spent.table()


def _tally(everything: int, stale: int, failed: int, to_do: int) -> Tally:
    return Tally(everything - failed - to_do, stale, failed, to_do)


def _failed_scores(subjects: list[str], targets: list[str], failures: Iterable[FailureRecord]) -> np.ndarray:
    """Which scores have failed, subjects × targets: by what their records name, as it is identified now."""
    result: np.ndarray = np.zeros((len(subjects), len(targets)), dtype=bool)
    rows, columns = _places(subjects), _places(targets)
    for failure in failures:
        subject, target = failure.subject_id or "", failure.target_id or ""
        if subject in rows and target in columns and score_id(subject, target) == failure.unit_id:
            result[np.ix_(rows[subject], columns[target])] = True
    return result


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Where each name stands."""
    result: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        result.setdefault(name, []).append(i)
    return result
