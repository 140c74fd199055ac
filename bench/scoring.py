"""How fast adapters are scored, beside lm-eval's `hf` model and the merge-and-reload way of the reference study.

All ways score the same items with the same weights and precision, one after the other in each round, so that whatever
else the machine does falls on all of them; a speed is therefore given as a ratio to (a) within its round.

(a) lm-eval `hf` with `peft=`, loaded, at the batch size found fastest   (b) merge, save, new lm_eval process, delete
(c) our plain path: one row per option                                   (d) ours: options behind one shared prompt

(a), (c) and (d) are timed from texts to log-likelihoods with the base loaded; (c) and (d) put the adapter on within the
time. (b) is timed from the trained adapter's folder to its results: an adapter costs all of it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import yaml
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluators.base import adapter_on
from evaluators.engine import Engine
from evaluators.prepare import plain, shared
from evaluators.requests import Encoder
from evaluators.targets import items_of
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.tasks import TaskLibrary

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
PROMPT_WORDS = (30, 90)
OPTION_WORDS = {"long": (5, 14), "short": (1, 3), "one": (1, 1)}  # "one" are the letters A to D
TOLERANCE = {"float32": 1e-3, "bfloat16": 1.0}  # nats per option, between any two ways


@dataclass(frozen=True)
class World:
    """What every way is given."""

    model: Path
    dtype: str
    adapters: list[Path]
    tasks: Path
    instances: list[Any]
    items: list[Any]


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    print(f"{options.model.name} {options.dtype}, {options.items} items of 4 options, {options.threads} threads")
    for shape in options.shapes:
        with tempfile.TemporaryDirectory() as scratch:
            world = make_world(options, shape, Path(scratch))
            report(shape, world, options.rounds, with_b=shape in options.merge)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scoring", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the base model")
    parser.add_argument("--shapes", nargs="+", choices=OPTION_WORDS, default=list(OPTION_WORDS))
    parser.add_argument("--merge", nargs="*", choices=OPTION_WORDS, default=[], help="shapes to time (b) on too")
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


# -- the items --------------------------------------------------------------------------------------------------------


def make_world(options: argparse.Namespace, shape: str, folder: Path) -> World:
    """A task over made-up items, and adapters whose B is not zero."""
    rng = random.Random(7)
    words = read_words(options.text) or vocabulary(options.model)
    docs = [make_doc(rng, words, shape) for _ in range(options.items)]
    (folder / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    definition = {
        "task": "bench_xx",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "docs.jsonl")}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{prompt}}\nAnswer:",
        "doc_to_choice": "options",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}],
    }
    (folder / "bench_xx.yaml").write_text(yaml.safe_dump(definition))
    library = TaskLibrary([TaskConfig(name="bench", lm_eval="bench_{language}", include_path=str(folder))], Scoring())
    instances = library.build_requests(Cell("bench", "xx"))
    items = items_of(library.load(Cell("bench", "xx")), instances)
    adapters = [make_adapter(options.model, folder / f"adapter{k}", options.rank, k) for k in range(options.adapters)]
    return World(options.model, options.dtype, adapters, folder, instances, items)


def make_doc(rng: random.Random, words: list[str], shape: str) -> dict[str, Any]:
    def text(bounds: tuple[int, int]) -> str:
        length = rng.randint(*bounds)
        first = rng.randrange(len(words) - length)
        return " ".join(words[first : first + length])

    choices = list("ABCD") if shape == "one" else [text(OPTION_WORDS[shape]) for _ in range(4)]
    return {"prompt": text(PROMPT_WORDS), "options": choices, "answer": rng.randrange(4)}


def read_words(files: list[Path]) -> list[str]:
    """The words of all texts of JSON-lines files, in order."""
    words: list[str] = []
    for file in files:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for line in data.decode().splitlines():
            values = json.loads(line).values()
            words += " ".join(value for value in values if isinstance(value, str)).split()
    return words


def vocabulary(model: Path) -> list[str]:
    """Words that are one token each, in random order."""
    known = AutoTokenizer.from_pretrained(model).get_vocab()
    words = sorted(token[1:] for token in known if token[0] in "Ġ▁" and token[1:].isalpha() and token.isprintable())
    return random.Random(1).choices(words, k=20_000)


def make_adapter(model: Path, folder: Path, rank: int, seed: int) -> Path:
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.002)
    wrapped.save_pretrained(folder)
    return folder


# -- the ways ---------------------------------------------------------------------------------------------------------


def hf_with_peft(world: World) -> Callable[[], list[float]]:
    """(a): at the best batch size for a quarter of the items. One adapter, loaded already: the others cost as much."""
    lm = HFLM(str(world.model), peft=str(world.adapters[0]), dtype=world.dtype, device=DEVICE, batch_size=1)
    few = world.instances[: max(4, len(world.instances) // 4)]
    seconds: dict[int, float] = {}
    for size in BATCH_SIZES:
        lm.batch_size_per_gpu = size
        seconds[size], _ = timed(lambda: lm.loglikelihood(few, disable_tqdm=True))
    best = min(seconds, key=seconds.__getitem__)
    lm.batch_size_per_gpu = best
    print(f"  (a) best batch size {best}: {', '.join(f'{k}: {v:.1f} s' for k, v in seconds.items())}")
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


def ours(world: World, lay_out: Callable[..., list[Any]]) -> Callable[[], list[float]]:
    """(c) and (d): every adapter after the other on one base. Tokenised once, as in a study."""
    base: Any = AutoModelForCausalLM.from_pretrained(world.model, dtype=getattr(torch, world.dtype))
    base = base.to(DEVICE).eval().requires_grad_(False)
    encoder = Encoder(base.config, AutoTokenizer.from_pretrained(world.model), False)
    engine = Engine(base)

    def run() -> list[float]:
        requests = encoder.requests(world.instances)
        rows = lay_out(world.items, requests)
        found = []
        for adapter in world.adapters:
            with adapter_on(base, adapter):
                lls, _ = engine.loglikelihoods(rows, len(requests))
            found.append(lls.tolist())
        return list(found[0])

    return run


# -- the report -------------------------------------------------------------------------------------------------------


def timed(step: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = step()
    return time.perf_counter() - began, answer


def report(shape: str, world: World, rounds: int, with_b: bool) -> None:
    """Time every way `rounds` times in turn; print seconds per adapter and the ratio of speeds to (a)."""
    print(f"{shape} options, {len(world.adapters)} adapters", flush=True)
    count = len(world.adapters)
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "(a) hf + peft": (hf_with_peft(world), 1),
        "(c) plain": (ours(world, plain), count),
        "(d) shared": (ours(world, shared), count),
    }
    if with_b:
        ways["(b) merge, reload"] = (lambda: merge_and_reload(world), count)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, (way, adapters) in ways.items():
            taken, answer = timed(way)
            seconds[name].append(taken / adapters)
            if answer is not None:
                answers[name] = answer
    reference = seconds["(a) hf + peft"]
    expected = answers["(a) hf + peft"]
    for name, own in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(reference, own, strict=True)]
        off = max((abs(x - y) for x, y in zip(answers.get(name, []), expected, strict=False)), default=float("nan"))
        median = statistics.median(own)
        print(
            f"  {name:18} {median:8.2f} s per adapter  {len(world.items) / median:8.2f} items/s"
            f"  {statistics.median(ratios):6.2f} x (a)  [{min(ratios):.2f}, {max(ratios):.2f}]"
            f"  differs by {off:.1e} nats",
            flush=True,
        )
        if off > TOLERANCE[world.dtype]:
            raise SystemExit(f"{name} differs from lm-eval by {off:.3g} nats: no speed counts")


if __name__ == "__main__":
    main()
