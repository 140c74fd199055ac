"""Adapters per hour on one CPU thread: the reference study's way, the same done well, and gangs.

`python -m bench.training [CONFIG]` trains adapters of a config's first model in each way: (a) a process per adapter,
transformers' Trainer and PEFT, rows padded to 512 tokens; (b) the same in one process, padded to the longest row of the
batch; (c) ours, one at a time; (d) ours, in gangs. Time is CPU time of this process and, for (a), its child, so that
other work on the machine counts less. Initial weights and order of (a, b) are their own; examples, split, steps and
epochs are the same.

`python -m bench.training packing` trains on raw texts of unequal length, with `training.packing` and without in turns.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from adapters.kinds.lora_weights import lora_config
from study.config import Recipe, StudyConfig
from study.config.file import load
from study.data.example import Example
from study.data.tasks import TaskLibrary
from study.models.resolve import Model, resolve_all

if TYPE_CHECKING:
    from trainers.data import Row
    from trainers.member import Member

REFERENCE_LENGTH = 512  # what the reference study pads to
PROSE = Path("examples/compositions/data/prose_en.jsonl")
GANGS, TEXTS, ROUNDS = (1, 4, 16), 64, 3  # adapters, texts of each, pairs
MEDIANS = {"sentences": 25, "paragraphs": 80}  # words of a text, of a distribution with a long tail


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def plain(model: Model, config: StudyConfig, examples: tuple[Example, ...], pad_to: int | None) -> None:
    """One adapter by PEFT and transformers' Trainer, validated each epoch."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, Trainer, TrainingArguments

    from study.data.held_out import split
    from trainers.data import tokenise

    recipe = config.recipe
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    rows = tokenise(tokenizer, examples, recipe.max_length, recipe.loss_on)
    learn, held_out = split(len(rows), recipe.validation)
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(model.path), lora_config(recipe.lora))

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            per_device_eval_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            eval_strategy="epoch",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(
            wrapped,
            arguments,
            data_collator=lambda batch: _collated(batch, pad_to, tokenizer.pad_token_id),
            train_dataset=[rows[i] for i in learn],  # type: ignore[arg-type]
            eval_dataset=[rows[i] for i in held_out],  # type: ignore[arg-type]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        wrapped.save_pretrained(folder)


def _collated(batch: list[Row], length: int | None, pad: int) -> dict[str, torch.Tensor]:
    """Rows padded to a length, or to the longest, as transformers takes them."""
    ids = torch.full((len(batch), length or max(len(row.tokens) for row in batch)), pad)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, row in enumerate(batch):
        tokens = torch.tensor(row.tokens)
        ids[i, : len(tokens)], mask[i, : len(tokens)] = tokens, 1
        labels[i, row.first : len(tokens)] = tokens[row.first :]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def ours(model: Model, config: StudyConfig, sources: list[tuple[Example, ...]], gang: int) -> float:
    """CPU seconds per adapter in gangs of that size, in a warm worker."""
    from trainers.job import Job, Setup
    from trainers.worker import Worker

    worker, setup = Worker(0, 1), Setup(model, config.recipe, config.training)
    jobs = [Job(f"{gang}-{i}", 17, examples) for i, examples in enumerate(sources)]
    with tempfile.TemporaryDirectory() as folder:
        worker.train(setup, [Job("warm", 17, sources[0][:16])], Path(folder))
        started = cpu_seconds()
        for i in range(0, len(jobs), gang):
            worker.train(setup, jobs[i : i + gang], Path(folder))
        return (cpu_seconds() - started) / len(jobs)


def raw_texts(median: int, count: int) -> list[tuple[Example, ...]]:
    """Texts of so many sources, their lengths lognormal."""
    words = " ".join(json.loads(line)["text"] for line in PROSE.read_text().splitlines()).split()
    draw, found = random.Random(0), []
    for _ in range(count * TEXTS):
        length, start = max(4, round(median * draw.lognormvariate(0, 0.8))), draw.randrange(len(words) // 2)
        text = " ".join(words[start : start + length])
        found.append(Example("", text, loss_on="all", format="text", append_eos=True))
    return [tuple(found[i : i + TEXTS]) for i in range(0, len(found), TEXTS)]


def share_on_a_gpu(members: Sequence[Member], recipe: Recipe, packs: bool) -> float:
    """What share of what a GPU would compute is text, by the limits of its passes."""
    from trainers.batch import Batching, deal, packed
    from trainers.settings import FULL_PASS, PASS_WORTH, rows_per_process

    how = Batching(rows_per_process(recipe, len(members), 1), FULL_PASS["cuda"], PASS_WORTH["cuda"], 0)
    useful = computed = step = 0
    while rows := [row for member in members for row in member.rows(step)]:
        useful += sum(len(row.row.tokens) for row in rows)
        for together in deal(packed(rows, None) if packs else rows, how, 1)[0]:
            computed += len(together) * max(len(row.row.tokens) for row in together)
        step += 1
    return useful / computed


def packing(config_file: str) -> None:
    """A line for each distribution and gang: the median of pairs, and what share of what is computed is text."""
    from trainers.job import Job, Setup, Trained
    from trainers.member import Member
    from trainers.worker import Worker

    config = load(config_file, ["recipe.epochs=1", "training.resources_per_worker={CPU: 1}"], None)
    worker, model, recipe = Worker(0, 1), resolve_all(config)[0], config.recipe
    print("| texts | gang | tokens per CPU s, packed | ratio, of pairs | share of text, packed | on a GPU, packed |")
    print("|---|---:|---:|---:|---:|---:|")
    for (name, median), gang in product(MEDIANS.items(), GANGS):
        jobs = [Job(str(i), 17, examples) for i, examples in enumerate(raw_texts(median, gang))]
        speeds: dict[bool, list[float]] = {False: [], True: []}
        shares: dict[bool, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            for _, packs in product(range(ROUNDS + 1), (False, True)):
                setup = Setup(model, recipe, config.training.model_copy(update={"packing": packs}))
                started = cpu_seconds()
                done = [
                    one.course.tokens for one in worker.train(setup, jobs, Path(folder)) if isinstance(one, Trained)
                ]
                useful = sum(tokens.useful for tokens in done)
                speeds[packs].append(useful / (cpu_seconds() - started))
                shares[packs] = useful / sum(tokens.padded for tokens in done)
        before, after = (statistics.median(one[1:]) for one in speeds.values())  # the first pair warms up
        ratios = sorted(b / a for a, b in zip(*(one[1:] for one in speeds.values()), strict=True))
        assert worker.base is not None
        rows = [worker.base.rows(job.examples, recipe.max_length, recipe.loss_on) for job in jobs]
        members = [Member(slot, *one, recipe) for slot, one in enumerate(zip(jobs, rows, strict=True))]
        then, now = (share_on_a_gpu(members, recipe, packs) for packs in (False, True))
        ratio = f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        of = f"{before:.0f}, {after:.0f} | {ratio} | {shares[False]:.2f}, {shares[True]:.2f} | {then:.2f}, {now:.2f}"
        print(f"| {name} | {gang} | {of} |", flush=True)


def main(config_file: str, only: str | None = None) -> None:
    torch.set_num_threads(1)
    config = load(config_file, [], None)
    library, model = TaskLibrary.of(config), resolve_all(config)[0]
    sources = [library.source_examples(source) for source in config.source_list()]
    if only is not None:  # a child of (a): one adapter, then gone
        plain(model, config, sources[0], REFERENCE_LENGTH)
        return
    results: dict[str, float] = {}

    def note(name: str, seconds: float) -> None:
        results[name] = seconds
        ratio = f"{seconds_a / seconds:.2f}" if (seconds_a := results["a"]) else ""
        print(
            f"({name}) {seconds:7.2f} CPU s per adapter, {3600 / seconds:7.0f} adapters/hour, {ratio} x (a)", flush=True
        )

    started = cpu_seconds()
    subprocess.run([sys.executable, "-m", "bench.training", config_file, "one"], check=True, capture_output=True)
    note("a", cpu_seconds() - started)
    few: list[Any] = sources[:: max(1, len(sources) // 4)][:4]
    plain(model, config, few[0], None)  # imports and first calls
    started = cpu_seconds()
    for examples in few:
        plain(model, config, examples, None)
    note("b", (cpu_seconds() - started) / len(few))
    note("c", ours(model, config, few, 1))
    for gang in (11, 44):
        note(f"d, gangs of {gang}", ours(model, config, sources[: max(gang, 11)], gang))


if __name__ == "__main__":
    if sys.argv[1:2] == ["packing"]:
        packing(*(sys.argv[2:] or ["examples/quickstart/study.yaml"]))
    else:
        main(*(sys.argv[1:] or ["examples/quickstart/study.yaml"]))
