"""How many tokens a study's texts are to a model, without loading it: what it learns from, and what it reads to score.

Training examples are counted as training does: cut to the recipe's length, a text into chunks, those held out to
validate on set apart; a conversation by what is said in it, without the marks of the model's chat template. A target
is counted as the engine reads it: a prompt once for its options, with what the model's chat template writes around it
where the target is asked so, and of the options what is read. It is judged by some of its questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import islice

from orchestrator.planning.survey import Question, Survey
from study.cells import Cell
from study.config import Recipe, Scoring
from study.data.example import Example, some_of
from study.data.held_out import split
from study.data.sizes import options_read
from study.data.turns import said
from study.errors import ConfigError
from study.models.chat import begins, template_of, tokenizer_of
from study.models.hub import file_of
from study.models.resolve import Model
from trainers.texts import pieces

CHARS_PER_TOKEN = 4  # only where a tokenizer cannot be read without loading the model library
Shots = tuple[str, int]  # a cell, and how many of its examples
SAMPLE = 128  # questions of a target that are tokenised; the others are taken to be like them


@dataclass(frozen=True)
class TokenCounter:
    """Takes texts apart. `name` tells it from that of another tokenizer; `exact` is False where it guesses.

    `tokens` are of texts that begin; with False of those that go on, before which no special token stands. `chat` has
    the chat template write a prompt, and says whether it begins with `tokens`' special ones.
    """

    name: str
    tokens: Callable[[Sequence[str], bool], list[Sequence[object]]]
    exact: bool
    chat: Callable[[str, Scoring], tuple[str, bool]] | None = None

    def around(self, scoring: Scoring) -> int:
        """Count the tokens that an item has beside its prompt's as it is asked: turns, and a system prompt."""
        if not scoring.apply_chat_template or self.chat is None:
            return 0
        text, begin = self.chat("x", scoring)
        (written,), (plain,) = self.tokens([text], begin), self.tokens(["x"], True)
        return len(written) - len(plain)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(tokens) for tokens in self.tokens(texts, True)]


@dataclass(frozen=True)
class SourceTokens:
    """Of one training on a source, all its epochs: tokens learned from, and all those read; rows of each kind.

    `cut` are examples that are longer than what is learned of them.
    """

    learned: int
    read: int
    train: int
    validation: int
    cut: int


def counter_of(model: Model) -> TokenCounter:
    """The counter of a model's tokenizer, or one that guesses by the length of a text. Raises ConfigError."""
    file = file_of(model.path, model.revision, "tokenizer.json")
    if file is None:
        size = CHARS_PER_TOKEN
        return TokenCounter(
            "", lambda texts, _: [[t[i : i + size] for i in range(0, len(t), size)] for t in texts], False
        )
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # of no class of its own
        problem, fix = f"its tokenizer.json cannot be used ({error})", "save the tokenizer again"
        raise ConfigError("models", model.path, problem, fix) from error
    tokenizer.no_padding()  # a tokenizer's file may say that texts are filled up, or cut off
    tokenizer.no_truncation()

    def tokens(texts: Sequence[str], begin: bool) -> list[Sequence[object]]:
        return [code.ids for code in tokenizer.encode_batch(list(texts), add_special_tokens=begin)]

    around = (file_of(model.path, model.revision, name) for name in ("tokenizer_config.json", "chat_template.jinja"))
    name = sha256(b"".join(one.read_bytes() for one in (file, *around) if one is not None)).hexdigest()
    return TokenCounter(name, tokens, True, _chat(model))


def _chat(model: Model) -> Callable[[str, Scoring], tuple[str, bool]]:
    load = cache(tokenizer_of)  # takes a second, and is asked for by each target

    def write(prompt: str, scoring: Scoring) -> tuple[str, bool]:
        turns = [{"role": "user", "content": prompt}]
        if scoring.system_prompt is not None:
            turns.insert(0, {"role": "system", "content": scoring.system_prompt})
        tokenizer = load(model)
        template = template_of(tokenizer, scoring)
        text = prompt if template is None else template(turns)
        return text, begins(tokenizer, text)

    return write


def of_source(counter: TokenCounter, examples: Sequence[Example], recipe: Recipe) -> SourceTokens:
    lengths, cut = _rows(counter, examples, recipe.max_length)
    learn, held_out = split(len(lengths), recipe.validation)
    once, passes = sum(lengths[i] for i in learn), recipe.passes(len(learn))
    learned = round(once * passes)
    read = learned + (sum(lengths) - once) * math.ceil(passes)
    return SourceTokens(learned, read, len(learn), len(held_out), cut)


def _rows(counter: TokenCounter, examples: Sequence[Example], longest: int) -> tuple[list[int], int]:
    """Tokens of each row: of an example, after it is cut, or of a text's chunk. And how many examples are cut."""
    whole = {
        begin: map(len, counter.tokens([said(one) for one in examples if _begins(one) is begin], begin))
        for begin in (True, False)
    }
    rows, cut = list[int](), 0
    for one in examples:
        count, most = next(whole[_begins(one)]), one.max_length or longest
        if one.format == "text":
            chunks = [1 + piece for piece in pieces(count, most, one.append_eos)]
            rows += [*chunks[:-1], *(last + one.append_eos for last in chunks[-1:])]
        else:
            rows.append(min(count, most))
            cut += count > most
    return rows, cut


def _begins(example: Example) -> bool:
    """Whether a tokenizer puts its special tokens to an example; to a text chunking does."""
    return example.bos and example.format != "text"


def of_targets(counter: TokenCounter, survey: Survey) -> list[int]:
    """Tokens of each usable target, in order."""
    return [_asked(counter, survey, cell) for cell in survey.targets]


def of_searches(counter: TokenCounter, survey: Survey) -> dict[Shots, int]:
    """Tokens of the examples on which weights are searched, by their cell and how many they are: of one try."""
    found = {}
    for cell, count in survey.shots:
        some = some_of(survey.library.examples(cell), count)
        found[str(cell), count] = sum(counter.count([said(one) for one in some]))
    return found


def _asked(counter: TokenCounter, survey: Survey, cell: Cell) -> int:
    around = counter.around(survey.library.scoring(cell))
    if around and survey.library.load(cell).OUTPUT_TYPE == "loglikelihood_rolling":
        around = 0  # a text is rated as it stands
    return _sampled(counter, survey.target_texts[cell]) + around * survey.target_items[cell]


def _sampled(counter: TokenCounter, asked: Sequence[Question]) -> int:
    """Tokens read of all questions, judged by some of them."""
    some = asked[:: max(1, len(asked) // SAMPLE)]
    read = sum(counter.count([one.prompt for one in some]))
    options = iter(counter.tokens([option for one in some for option in one.options], False))
    for one in some:
        read += options_read(list(islice(options, len(one.options))))
    letters = _letters(some)
    return round(read * (_letters(asked) / letters if letters else 1.0))


def _letters(asked: Sequence[Question]) -> int:
    return sum(len(text) for one in asked for text in (one.prompt, *one.options))
