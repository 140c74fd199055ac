"""What it costs to look at bases and adapters before their numbers count: pairs with and without, in random order.

python -m bench.checks [--pairs 12] [--hidden 512] [--layers 8]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from scipy import stats
from transformers import LlamaConfig, LlamaForCausalLM

from adapters.base.probe import Probe
from adapters.kinds.kind import kind_of
from evaluators.evaluator import Evaluator, Settings
from evaluators.subjects.touchstone import Touchstone
from study.cells import Cell
from study.config import Lora, Recipe, Scoring, TaskConfig
from study.models.resolve import Model
from study.store.store import Store
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.support.tiny_models import make_tokenizer
from trainers.base import Base

ITEMS = 100


@contextmanager
def unchecked() -> Iterator[None]:
    """Within, nothing is looked at."""
    with ExitStack() as stack:
        stack.enter_context(patch("evaluators.evaluator.check_readable", lambda *_: Probe(0.0, 0.0, 0.0)))
        stack.enter_context(patch("evaluators.evaluator.fingerprint", lambda *_: None))
        stack.enter_context(patch("evaluators.evaluator.changed", lambda *_: None))
        stack.enter_context(patch("trainers.base.check_readable", lambda *_: None))
        stack.enter_context(patch.object(Touchstone, "holds", lambda *_: True))
        yield


def pairs(what: Callable[[bool], None], count: int) -> tuple[float, float, float, float, float]:
    """Median seconds with and without, the ratio's mean and its 95 % interval (on logarithms), from pairs."""
    what(True), what(False)  # warm
    rng, seconds = random.Random(0), {True: [0.0] * count, False: [0.0] * count}
    for pair in range(count):
        for checked in rng.sample([True, False], 2):
            began = time.perf_counter()
            what(checked)
            seconds[checked][pair] = time.perf_counter() - began
    logs = torch.log(torch.tensor(seconds[True]) / torch.tensor(seconds[False])).tolist()
    mean, half = statistics.mean(logs), stats.t.ppf(0.975, count - 1) * statistics.stdev(logs) / count**0.5
    ratio = [float(torch.tensor(value).exp()) for value in (mean, mean - half, mean + half)]
    return (statistics.median(seconds[True]), statistics.median(seconds[False]), *ratio)  # type: ignore[return-value]


def model_in(folder: Path, hidden: int, layers: int) -> Model:
    make_tokenizer(folder, bos=True)
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return model_of(folder)


def ways(folder: Path, model: Model) -> Mapping[str, Callable[[bool], None]]:
    """What is done with and without looking."""
    write_task(folder / "tasks", "quiz_en", make_docs(ITEMS, seed=2))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder / "tasks"))
    store = Store(str(folder / "store"))
    adapter = put_adapter(store, make_adapter(Path(model.path), folder / "adapter", 1, r=8), "a")
    units, kind = [unit_of(Cell("quiz", "en"), adapter)], kind_of(Recipe(lora=Lora(r=8, alpha=16)))

    def opened() -> Evaluator:
        return Evaluator(model, store, Settings((quiz,), Scoring()))

    warm = {True: opened(), False: opened()}

    def score(checked: bool) -> None:
        warm[checked].score(units)

    def score_first(checked: bool) -> None:
        warm[checked]._known = Touchstone(warm[checked]._base)
        score(checked)

    def load_and_train(checked: bool) -> None:
        base = Base(model, torch.device("cpu"), None)
        if checked:
            base.left_out(kind)

    plain: dict[str, Callable[[bool], None]] = {
        "an evaluator is opened": lambda _: [opened(), None][1],
        f"the first adapter of a shape is scored on {ITEMS} items": score_first,
        f"a later one is scored on {ITEMS} items": score,
        "a trainer loads a base, for the first gang": load_and_train,
    }

    return {name: partial(_with_or_without, way) for name, way in plain.items()}


def _with_or_without(way: Callable[[bool], None], checked: bool) -> None:
    with nullcontext() if checked else unchecked():
        way(checked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12, help="at least 2: of fewer there is no interval")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    options = parser.parse_args()
    if options.pairs < 2:
        parser.error(f"--pairs {options.pairs}: of fewer than 2 pairs there is no interval; take 12")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = model_in(Path(folder) / "model", options.hidden, options.layers)
        print("| what | with, s | without, s | ratio | 95 % |\n|---|---:|---:|---:|---:|")
        for name, way in ways(Path(folder), model).items():
            on, off, ratio, low, high = pairs(way, options.pairs)
            print(f"| {name} | {on:.3f} | {off:.3f} | {ratio:.3f} | {low:.3f} to {high:.3f} |", flush=True)


if __name__ == "__main__":
    main()
