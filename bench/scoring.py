"""How fast adapters are scored, beside lm-eval's `hf` model and the merge-and-reload way of the reference study.

All ways score the same items with the same weights and precision, one after the other in each round, so that whatever
else the machine does falls on all of them; a speed is therefore given as a ratio to (a) within its round.

(a) lm-eval `hf` with `peft=`, loaded, at the batch size found fastest   (b) merge, save, new lm_eval process, delete
(c) our plain path: one row per option                                   (d) ours: options behind one shared prompt
(d K) ours, K adapters in every batch

(a), (c) and (d) are timed from texts to log-likelihoods with the base loaded; (c) and (d) put the adapter on within the
time. (b) is timed from the trained adapter's folder to its results: an adapter costs all of it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from lm_eval.models.huggingface import HFLM
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapters.modules.plain import plain_lora
from bench.scoring_world import LLAMAS, OPTION_WORDS, World, make_world, random_llama
from evaluators.forward.engine import Engine
from evaluators.forward.profile import forward_flops
from evaluators.forward.rows import Row
from evaluators.items.encoder import encoder_of
from evaluators.items.targets import plain, shared
from evaluators.subjects.on_base import adapter_on, load_base
from evaluators.subjects.sharing import bank_on
from evaluators.subjects.touchstone import Touchstone
from study.flops import peak_of
from study.models.resolve import Model

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH_SIZES = (2, 4, 8, 16, 32, 64)
TOLERANCE = {"float32": 1e-3, "bfloat16": 1.0}  # nats per option, between any two ways
Answers = list[float]


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        if options.random:
            options.model = random_llama(options.random, options.model, Path(scratch) / "model", DEVICE)
        print(
            f"{options.random or options.model.name} {options.dtype}, {options.items} items, {options.threads} threads"
        )
        for shape in options.shapes:
            folder = Path(scratch) / shape
            folder.mkdir()
            report(shape, make_world(options, shape, folder), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scoring", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the base model")
    parser.add_argument("--random", choices=LLAMAS, help="take only the tokenizer of the model, and random weights")
    parser.add_argument("--shapes", nargs="+", choices=OPTION_WORDS, default=list(OPTION_WORDS))
    parser.add_argument("--ways", nargs="+", choices="abcd", default=list("acd"), help="(a) is always there")
    parser.add_argument("--at-once", type=int, nargs="*", default=[], help="adapters in a batch, for ways (d K)")
    parser.add_argument("--items", type=int, default=96)
    parser.add_argument("--adapters", type=int, default=1)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32")
    parser.add_argument(
        "--text", type=Path, nargs="*", default=[], help="JSON lines (.gz) whose texts give the words, else made up"
    )
    return parser


# -- the ways ---------------------------------------------------------------------------------------------------------


def hf_with_peft(world: World) -> Callable[[], Answers]:
    """(a): at the best batch size for an eighth of the items. One adapter, loaded: the others cost as much."""
    lm = HFLM(str(world.model), peft=str(world.adapters[0]), dtype=world.dtype, device=DEVICE, batch_size=1)
    few = world.instances[: max(4, len(world.instances) // 8)]
    seconds: dict[int, float] = {}
    for size in BATCH_SIZES:
        lm.batch_size_per_gpu = size
        seconds[size], _ = timed(lambda: lm.loglikelihood(few, disable_tqdm=True))
    best = min(seconds, key=seconds.__getitem__)
    lm.batch_size_per_gpu = best
    print(f"  (a) best batch size {best}: {', '.join(f'{k}: {v:.1f} s' for k, v in seconds.items())}", flush=True)
    return lambda: [ll for ll, _ in lm.loglikelihood(world.instances, disable_tqdm=True)]


def merge_and_reload(world: World) -> None:
    """(b): as the reference study's sweep agents do, for each adapter."""
    for adapter in world.adapters:
        merged = world.tasks / "merged"
        base = AutoModelForCausalLM.from_pretrained(world.model, dtype=getattr(torch, world.dtype))
        PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().save_pretrained(merged)
        AutoTokenizer.from_pretrained(world.model).save_pretrained(merged)
        del base
        command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--tasks", "bench_xx", "--batch_size", "8"]
        command += ["--model_args", f"pretrained={merged},dtype={world.dtype}", "--device", DEVICE]
        command += ["--include_path", str(world.tasks)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(merged)


class Ours:
    """(c) and (d) on one base. Requests are tokenised once for all adapters, as in a study, and within the time."""

    def __init__(self, world: World) -> None:
        model = Model("bench", str(world.model), None, "bench", world.dtype, "bench", 0.0, 0, False, ())
        self._world, self._base, self._encoder = world, load_base(model), encoder_of(model)
        self.engine, self._known = Engine(self._base), Touchstone(self._base)

    def one_by_one(self, lay_out: Callable[..., list[Row]]) -> Answers:
        """The first adapter's answers; every adapter is put on and scored."""
        requests, rows = self._laid_out(lay_out)
        found = []
        for adapter in self._world.adapters:
            with adapter_on(self._base, adapter, self._known) as model, self.engine.running(model):
                found.append(self._score(rows, [None], requests))
        return found[0]

    def at_once(self, many: int) -> Answers:
        """The same with `many` adapters in every batch."""
        requests, rows = self._laid_out(shared)
        found, adapters = [], self._world.adapters
        for group in (adapters[start : start + many] for start in range(0, len(adapters), many)):
            weights = [w for adapter in group if (w := plain_lora(adapter, self._base)) is not None]
            with bank_on(self.engine, weights):
                found.append(self._score(rows, list(range(len(weights))), requests))
        return found[0]

    def _laid_out(self, lay_out: Callable[..., list[Row]]) -> tuple[int, list[Row]]:
        requests = self._encoder.requests(self._world.instances)
        return len(requests), lay_out(self._world.items, requests)

    def _score(self, rows: Sequence[Row], slots: Sequence[int | None], count: int) -> Answers:
        every = [row.numbered_from(k * count, slot) for k, slot in enumerate(slots) for row in rows]
        lls, _ = self.engine.loglikelihoods(every, len(slots) * count)
        return list(lls[:count].tolist())

    def flops(self) -> int:
        """Of one adapter's items in (d): the body over every token, the head over scored positions."""
        _, rows = self._laid_out(shared)
        body, head = forward_flops(self._base)
        return sum(body * len(row) + head * len(set(row.at_S.tolist())) for row in rows)


# -- the report -------------------------------------------------------------------------------------------------------


def timed(step: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = step()
    return time.perf_counter() - began, answer


def report(shape: str, world: World, options: argparse.Namespace) -> None:
    """Time every way `rounds` times in turn; print seconds per adapter and the ratio of speeds to (a)."""
    count = len(world.adapters)
    print(f"{shape} options, {count} adapters", flush=True)
    ours = Ours(world)
    ways: dict[str, tuple[Callable[[], Any], int]] = {"(a) hf + peft": (hf_with_peft(world), 1)}
    if "b" in options.ways:
        ways["(b) merge, reload"] = (lambda: merge_and_reload(world), count)
    if "c" in options.ways:
        ways["(c) plain"] = (lambda: ours.one_by_one(plain), count)
    if "d" in options.ways:
        ways["(d) shared"] = (lambda: ours.one_by_one(shared), count)
    for many in options.at_once:
        ways[f"(d {many}) at once"] = (partial(ours.at_once, many), count)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Answers] = {}
    for _ in range(options.rounds):
        for name, (way, adapters) in ways.items():
            taken, answer = timed(way)
            seconds[name].append(taken / adapters)
            if answer is not None:
                answers[name] = answer
    expected = answers["(a) hf + peft"]
    for name, own in seconds.items():
        off = max((abs(x - y) for x, y in zip(answers.get(name, []), expected, strict=False)), default=float("nan"))
        print(_line(name, own, seconds["(a) hf + peft"], len(world.items), ours.flops()), f"differs by {off:.1e} nats")
        if off > TOLERANCE[world.dtype]:
            raise SystemExit(f"{name} differs from lm-eval by {off:.3g} nats: no speed counts")


def _line(name: str, own: Sequence[float], reference: Sequence[float], items: int, flops: int) -> str:
    ratios = [theirs / mine for theirs, mine in zip(reference, own, strict=True)]
    median = statistics.median(own)
    line = f"  {name:18} {median:8.2f} s per adapter  {items / median:8.2f} items/s"
    line += f"  {statistics.median(ratios):6.2f} x (a)  [{min(ratios):.2f}, {max(ratios):.2f}]"
    gpu = torch.cuda.get_device_name() if DEVICE == "cuda" else ""
    peak = peak_of(gpu)
    return line + (f"  MFU {flops / median / peak:.1%}" if peak and name.startswith("(d") else "") + " "


if __name__ == "__main__":
    main()
