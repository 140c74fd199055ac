"""How many tokens a study's texts are to a model, without loading it: what it learns from, and what it reads to score.

Training examples are counted as training does: cut to the recipe's length, those held out to validate on set apart. A
target counts a prompt once per question, as the engine reads it, and is judged by some of its texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from orchestrator.survey import Survey
from study.config import Recipe
from study.example import Example
from study.models import Model
from trainers.data import split

CHARS_PER_TOKEN = 4.0  # only where a tokenizer cannot be read without loading the model library
SAMPLE = 256  # texts of a target that are tokenised; the others are taken to be like them


@dataclass(frozen=True)
class Counter:
    """Counts the tokens of texts. `name` tells it from that of another tokenizer; `exact` is False where it guesses."""

    name: str
    count: Callable[[Sequence[str]], list[int]]
    exact: bool


@dataclass(frozen=True)
class SourceTokens:
    """Of a source's training over all epochs: tokens learned from, and all those read; examples of each kind."""

    learned: int
    read: int
    train: int
    validation: int


def counter_of(model: Model) -> Counter:
    """The counter of a model's tokenizer, or one that guesses by the length of a text."""
    file = _tokenizer_file(model)
    if file is None:
        return Counter("", lambda texts: [max(1, round(len(text) / CHARS_PER_TOKEN)) for text in texts], False)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()  # a tokenizer's file may say that texts are filled up, or cut off
    tokenizer.no_truncation()
    name = sha256(file.read_bytes()).hexdigest()
    return Counter(name, lambda texts: [len(code) for code in tokenizer.encode_batch(list(texts))], True)


def of_source(counter: Counter, examples: Sequence[Example], recipe: Recipe) -> SourceTokens:
    lengths = [min(n, recipe.max_length) for n in counter.count([one.prompt + one.answer for one in examples])]
    learn, held_out = split(len(lengths), recipe.validation)
    learned, epochs = sum(lengths[i] for i in learn), recipe.epochs
    return SourceTokens(learned * epochs, sum(lengths) * epochs, len(learn), len(held_out))


def of_targets(counter: Counter, survey: Survey) -> list[int]:
    """Tokens of each usable target, in order."""
    return [_sampled(counter, survey.target_texts[cell]) for cell in survey.targets]


def _sampled(counter: Counter, texts: Sequence[str]) -> int:
    """Tokens of all texts, judged by some of them."""
    some = texts[:: max(1, len(texts) // SAMPLE)]
    letters = sum(map(len, some))
    return round(sum(counter.count(some)) * (sum(map(len, texts)) / letters if letters else 1.0))


def _tokenizer_file(model: Model) -> Path | None:
    if model.revision is None:
        file = Path(model.path) / "tokenizer.json"
        return file if file.exists() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model.path, "tokenizer.json", revision=model.revision))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None
