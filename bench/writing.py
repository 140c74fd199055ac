"""What it costs to have adapters write: batches of several with a KV cache and stop strings, beside lm-eval's `hf`.

`python -m bench.writing [CONFIG] [CELL] [ADAPTERS] [ROUNDS]` has as many LoRA adapters with random weights write the
answers of a cell: ours from one bank, in batches that prompts of all adapters share; lm-eval's `hf` with each put on by
PEFT, one after the other, in batches of as many prompts as ours (its own would hold one adapter's alone). Loading is
in neither. Each round does both, in turn first, and is a ratio of its own; answers must be the same, text by text.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from lm_eval.models.huggingface import HFLM
from peft import PeftModel
from transformers import AutoModelForCausalLM

from adapters.folders.folder import AdapterWeights
from adapters.modules.plain import Plain
from bench.scoring_world import make_adapter
from bench.training import cpu_seconds
from evaluators.forward.engine import Engine
from evaluators.forward.generate import Writer
from evaluators.items.encoder import encoder_of
from evaluators.subjects.on_base import load_base
from evaluators.subjects.sharing import bank_on
from study.cells import Cell
from study.config.file import load
from study.data.harness import Instance
from study.data.tasks import TaskLibrary
from study.models.resolve import Model, resolve_all

RANK = 8


class Ours:
    """An engine with a bank of all adapters."""

    def __init__(self, model: Model, folders: Sequence[Path]) -> None:
        self._encoder, base = encoder_of(model), load_base(model, 1)
        self._engine, plain = Engine(base), Plain(base)
        self._weights = [found for folder in folders if isinstance(found := plain(folder), AdapterWeights)]
        assert len(self._weights) == len(folders)
        self._writer = Writer(self._engine, self._encoder.tokenizer, int(self._encoder.max_length))

    def rows(self, instances: Sequence[Instance]) -> int:
        """Prompts in a batch."""
        return self._writer._rows(self._encoder.longest_writing(instances))

    def write(self, instances: Sequence[Instance]) -> list[list[str]]:
        longest, count = self._encoder.longest_writing(instances), len(self._weights)
        slots = [slot for slot in range(count) for _ in instances]
        with bank_on(self._engine, self._weights):
            texts = [one.text for one in self._writer.write([*instances] * count, slots, longest)]
        return [texts[slot * len(instances) : (slot + 1) * len(instances)] for slot in range(count)]


class Theirs:
    """lm-eval's `hf` of each adapter."""

    def __init__(self, model: Model, folders: Sequence[Path], rows: int) -> None:
        self._models: list[Any] = []
        for folder in folders:
            base = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32)
            own: Any = PeftModel.from_pretrained(base, str(folder)).eval()
            self._models.append(HFLM(pretrained=own, tokenizer=model.path, batch_size=min(rows, 64)))

    def write(self, instances: Sequence[Instance]) -> list[list[str]]:
        return [one.generate_until(list(instances), disable_tqdm=True) for one in self._models]


def main(config_file: str, cell: str, adapters: int, rounds: int) -> None:
    torch.set_num_threads(1)
    config = load(config_file, [], None)
    model, instances = resolve_all(config)[0], TaskLibrary.of(config).build_requests(Cell.parse(cell))
    with tempfile.TemporaryDirectory() as folder:
        made = [make_adapter(Path(model.path), Path(folder) / str(n), RANK, n) for n in range(adapters)]
        ours = Ours(model, made)
        theirs = Theirs(model, made, ours.rows(instances))
        sides, seconds = {"ours": ours, "hf": theirs}, dict[str, list[float]](ours=[], hf=[])
        some = instances[:8]
        assert ours.write(some) == theirs.write(some), "answers differ"
        for number in range(rounds):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                started = cpu_seconds()
                sides[name].write(instances)
                seconds[name].append(cpu_seconds() - started)
            print(f"ours {seconds['ours'][-1]:7.2f} CPU s, hf {seconds['hf'][-1]:7.2f} CPU s", flush=True)
    ratios = sorted(one / other for one, other in zip(seconds["hf"], seconds["ours"], strict=True))
    told = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"{adapters} adapters, {len(instances)} answers each: hf takes {told} times ours", flush=True)


if __name__ == "__main__":
    defaults = ["examples/compositions/study.yaml", "digest/en", "8", "5"]
    file, cell, count, rounds = (*sys.argv[1:], *defaults[len(sys.argv) - 1 :])
    main(file, cell, int(count), int(rounds))
