"""Adapters per hour on one CPU thread: the reference study's way, the same done well, and gangs.

`python -m bench.training [CONFIG]` trains adapters of a config's first model in each way: (a) a process per adapter,
transformers' Trainer and PEFT, rows padded to 512 tokens; (b) the same in one process, padded to the longest row of the
batch; (c) ours, one at a time; (d) ours, in gangs. Time is CPU time of this process and, for (a), its child, so that
other work on the machine counts less. Initial weights and order of (a, b) are their own; examples, split, steps and
epochs are the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from adapters.kinds.lora_weights import lora_config
from study.config import StudyConfig
from study.config.file import load
from study.data.example import Example
from study.data.tasks import TaskLibrary
from study.models.resolve import Model, resolve_all

if TYPE_CHECKING:
    from trainers.data import Row

REFERENCE_LENGTH = 512  # what the reference study pads to


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
    main(*(sys.argv[1:] or ["examples/quickstart/study.yaml"]))
