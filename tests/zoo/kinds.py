"""Every kind of PEFT adapter on four bases, each between two plain ones: is it scored right, and is the next one?

python -m tests.zoo.kinds OUTCOMES.jsonl [--seconds N] [--only TEXT]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import shutil
import statistics
import tempfile
from pathlib import Path
from unittest.mock import patch

from evaluators.evaluator import Evaluator, Settings
from evaluators.subjects import sharing
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.store.store import Store
from study.units import AdapterUnit, ScoreUnit
from tests.evaluators.conftest import make_docs, model_of, put_adapter, unit_of, write_task
from tests.support import peft_zoo, zoo
from tests.support.yardsticks import CELL, by_hand, largest
from tests.zoo.lm_eval import ask_lm_eval
from tests.zoo.outcome import Crashed, Outcome, Refused, part, walk

Lls = list[list[float]]


class World:
    """A base with two plain adapters, and what each of the three scores when nothing else was scored before."""

    def __init__(self, base: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"zoo-{base}-"))
        self.model = zoo.make(base, self.folder / "model")
        self.tasks = self.folder / "tasks"
        write_task(self.tasks, "quiz_en", make_docs(4, seed=3))
        plain, self.has_experts = peft_zoo.kinds(base)["LORA"], peft_zoo.PLACES[base].expert is not None
        self.quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(self.tasks))
        self.a, self.b = (peft_zoo.make(self.model, self.folder / name, plain, seed) for seed, name in enumerate("ab"))

    @functools.cache  # noqa: B019  # a world lasts as long as its base is asked about
    def alone(self, dtype: str) -> dict[str, Lls]:
        found = {}
        for name, folder in (("base", None), ("a", self.a), ("b", self.b)):
            with Scores(self, dtype) as scores:
                found[name] = scores.of({name: folder})[name]
        return found


class Scores:
    """One evaluator, and what it says of adapters, in the order in which it is asked."""

    def __init__(self, world: World, dtype: str, together: int = 1) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="zoo-store-"))
        self._store = Store(str(self.folder))
        self._together = together
        self._evaluator = Evaluator(model_of(world.model, dtype), self._store, Settings((world.quiz,), Scoring()))
        self._put: dict[str, AdapterUnit] = {}
        self._calls = 0

    def __enter__(self) -> Scores:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def of(self, adapters: dict[str, Path | None]) -> dict[str, Lls]:
        """Log-likelihoods of each, scored in one call. Raises Refused or Crashed for the first that has none."""
        self._calls += 1
        units: dict[str, ScoreUnit] = {}
        for name, folder in adapters.items():
            if folder is not None and name not in self._put:
                self._put[name] = put_adapter(self._store, folder, name)
            unit = unit_of(CELL, self._put.get(name))
            units[name] = ScoreUnit(f"{unit.score_id}-{self._calls}", *_rest(unit))
        with patch.object(sharing, "adapters_per_batch", lambda *_: self._together):
            results = dict(zip(units, self._evaluator.score(list(units.values())), strict=True))
        self.results = results
        rows = self._store.items().to_pylist()
        found: dict[str, Lls] = {}
        for name, unit in units.items():
            own = sorted((row for row in rows if row["score_id"] == unit.score_id), key=lambda row: row["doc_id"])
            found[name] = [row["loglikelihoods"] for row in own]
        return found

    def one(self, name: str, folder: Path | None) -> Lls:
        found = self.of({name: folder})[name]
        result = self.results[name]
        if not result.ok:
            raise (Refused if result.kind == "bad_data" else Crashed)(f"{result.kind}: {result.message}")
        return found


def _rest(unit: ScoreUnit) -> tuple[object, ...]:
    return (unit.subject_id, unit.target_id, unit.model, unit.model_params, unit.adapter, unit.target)


@functools.cache
def world_of(base: str) -> World:
    return World(base)


def one(name: str) -> Outcome:
    base, kind = name.split(": ", 1)
    found, world = Outcome(name), world_of(base)
    folder = Path(tempfile.mkdtemp(prefix="zoo-adapter-"))
    try:
        if found.ask("made", lambda: _none(peft_zoo.make(world.model, folder, peft_zoo.kinds(base)[kind], 7))):
            for dtype in ("float32", "bfloat16"):
                _banked(found, world, folder, dtype, _between(found, world, folder, dtype))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _none(_: object) -> None:
    return None


def _expected(found: Outcome, world: World, folder: Path, dtype: str) -> Lls | None:
    """What PEFT makes of a folder, and so lm-eval; how far lm-eval is from that, where it is, is a step of its own."""
    library = TaskLibrary((world.quiz,), Scoring())
    expected: dict[str, Lls] = {}

    def by_peft() -> None:
        expected["peft"] = by_hand(model_of(world.model, dtype), library, folder)

    if found.ask(f"{dtype[-2:]} PEFT", by_peft) and dtype == "float32":
        ask_lm_eval(found, model_of(world.model), world.quiz, folder, expected["peft"])
    return expected.get("peft")


def _between(found: Outcome, world: World, folder: Path, dtype: str) -> Lls | None:
    """Score it between two plain ones; what PEFT makes of it, where it makes something."""
    alone, short = world.alone(dtype), dtype.replace("float", "")
    expected = _expected(found, world, folder, dtype)
    with Scores(world, dtype) as scores:
        scores.one("a", world.a)

        def itself() -> float:
            ours = scores.one("k", folder)
            if expected is None:
                raise Crashed("scored, though PEFT cannot")
            return _off(ours, expected, world, dtype)

        found.ask(f"{short} itself", itself)
        found.ask(f"{short} next", lambda: _moved(scores.one("b", world.b), alone["b"]))
        found.ask(f"{short} base", lambda: _moved(scores.one("base", None), alone["base"]))
    return expected


def _off(ours: Lls, expected: Lls, world: World, dtype: str) -> float:
    exact = dtype == "float32"
    return largest(ours, expected) if exact else _beyond_rounding(ours, expected, world.has_experts)


def _beyond_rounding(ours: Lls, theirs: Lls, has_experts: bool) -> float:
    """How far over 0.5 nats the worst option is; where most are equal a choice of experts may hang on rounding."""
    off = [abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)]
    return 0.0 if has_experts and statistics.median(off) <= 0.25 else max(0.0, max(off) - 0.5)


def _banked(found: Outcome, world: World, folder: Path, dtype: str, expected: Lls | None) -> None:
    """Two plain ones that share batches, and this one, in one call; then the plain ones again."""
    alone, short = world.alone(dtype), dtype.replace("float", "")
    allowed = 1e-4 if dtype == "float32" else 0.5
    with Scores(world, dtype, together=4) as scores:

        def together() -> float:
            first = scores.of({"a": world.a, "k": folder, "b": world.b})
            again = scores.of({"b": world.b, "a": world.a})
            pairs = [
                (first["a"], alone["a"]),
                (first["b"], alone["b"]),
                (again["a"], alone["a"]),
                (again["b"], alone["b"]),
            ]
            itself = _off(first["k"], expected, world, dtype) if first["k"] and expected is not None else 0.0
            return max(itself, *(largest(ours, theirs) - allowed for ours, theirs in pairs))

        found.ask(f"{short} banked", together)


def _moved(ours: Lls, alone: Lls) -> float:
    """How far it is from what it was alone; a difference in the last bit is none of nats but is told."""
    return largest(ours, alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--part", default="1/1", help="the first of two parts is 1/2")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    names = [f"{base}: {kind}" for base in peft_zoo.PLACES for kind in peft_zoo.kinds(base)]
    with contextlib.suppress(KeyboardInterrupt):
        wanted = part([name for name in names if options.only in name], options.part)
        done = walk(wanted, options.outcomes, options.seconds, one)
        print("all" if done else "more to come")


if __name__ == "__main__":
    main()
