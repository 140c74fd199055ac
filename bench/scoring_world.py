"""What `bench.scoring` gives every way of scoring: a model, made-up items of three shapes, adapters that matter."""

from __future__ import annotations

import argparse
import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from evaluators.items.item import items_of
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary

PROMPT_WORDS = (30, 90)
OPTION_WORDS = {"long": (5, 14), "short": (1, 3), "one": (1, 1)}  # "one" are the letters A to D
LLAMAS = {  # shapes of Llama 3.2 1B and Llama 3.1 8B
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "llama-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
LLAMA_VOCABULARY = 128256


@dataclass(frozen=True)
class World:
    """What every way is given."""

    model: Path
    dtype: str
    adapters: list[Path]
    tasks: Path
    instances: list[Any]
    items: list[Any]


def random_llama(name: str, tokenizer: Path, folder: Path, device: str) -> Path:
    """A Llama of a known shape with random weights in bfloat16. The tokenizer is filled up to its vocabulary."""
    words = AutoTokenizer.from_pretrained(tokenizer)
    words.add_tokens([f"<filler {i}>" for i in range(LLAMA_VOCABULARY - len(words))])
    words.save_pretrained(folder)
    config = LlamaConfig(vocab_size=LLAMA_VOCABULARY, max_position_embeddings=8192, **LLAMAS[name])
    with torch.device(device):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


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
