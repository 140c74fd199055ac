"""A cell as a model meets it: what it learns there, token by token, and what it is asked.

Nothing is made up for looking: rows are those that `trainers.data` makes, prompts those that the evaluator encodes.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from evaluators.items.encoder import Encoder
from orchestrator.planning.survey import says_right
from study.cells import Cell, Source
from study.config import StudyConfig
from study.data.example import Example
from study.data.gold import right_answer
from study.data.harness import Instance
from study.data.tasks import TaskLibrary
from study.models.resolve import Model
from trainers.data import Row, tokenise, with_cuts

WHOLE = 1 << 30  # tokens: more than any text has
CLASSES = 20  # answers of more kinds are no classes


@dataclass(frozen=True)
class Span:
    """Tokens that stand together, all learned or none."""

    text: str
    tokens: tuple[int, ...]
    learned: bool


@dataclass(frozen=True)
class LearnedRow:
    """One row of training. `whole` is how many tokens it has before it is cut, or the text that it is a chunk of."""

    spans: tuple[Span, ...]
    n_tokens: int
    whole: int
    cut: bool


@dataclass(frozen=True)
class Asked:
    """One item: its prompt, the options, the right answer where it is told, and tokens of the longest."""

    doc_id: int
    prompt: str
    options: tuple[str, ...]
    answer: str
    n_tokens: int


@dataclass(frozen=True)
class Lengths:
    """Of texts in tokens, and how many are cut, as longer than `limit`; None where they are read in windows."""

    count: int
    shortest: int
    median: int
    longest: int
    limit: int | None
    cut: int


@dataclass(frozen=True)
class Learned:
    """What is learned in a cell. `answers` counts them, where they are of few kinds."""

    rows: tuple[LearnedRow, ...]
    lengths: Lengths
    hidden: int
    nulls: int
    answers: dict[str, int]


@dataclass(frozen=True)
class Scored:
    """What is asked in a cell. `answers` counts the right ones, where they are of few kinds."""

    items: tuple[Asked, ...]
    lengths: Lengths
    hidden: int
    nulls: int
    fewshot: int
    chat: bool
    metrics: tuple[str, ...]
    answers: dict[str, int]


def learned(config: StudyConfig, library: TaskLibrary, encoder: Encoder, source: Source, count: int) -> Learned:
    """The first rows that an adapter of a source learns from, and all of their lengths. Raises TaskError, BadData.

    Of a source of several cells those of each come in turn, as in its list.
    """
    each = library.each_of(source)
    examples = [one for examples in zip_longest(*each) for one in examples if one is not None]
    recipe = config.recipe_of(source)
    of_rows = [
        (example, row)
        for example in examples[:count]
        for row in tokenise(encoder.tokenizer, [example], recipe.max_length, recipe.loss_on)
    ]
    rows = with_cuts([row for _, row in of_rows], config.seeds[0])
    shown = [_row(encoder, example, row) for (example, _), row in zip(of_rows, rows, strict=True)]
    whole = [_whole(encoder, example) for example in examples]
    most = [example.max_length or recipe.max_length for example in examples]
    cut = sum(n > m for n, m, one in zip(whole, most, examples, strict=True) if one.format != "text")
    lengths = _lengths(whole, max(most), cut)
    hidden = sum(library.hidden.get((cell, "train"), 0) for cell in source.cells)
    nulls = sum(library.nulls.get((cell, "train"), 0) for cell in source.cells)
    kinds = Counter(one.answer for one in examples if one.format in (None, "prompt_completion"))
    told = dict(kinds.most_common()) if len(kinds) <= CLASSES else {}
    return Learned(tuple(shown[:count]), lengths, hidden, nulls, told)


def scored(_: StudyConfig, library: TaskLibrary, encoder: Encoder, cell: Cell, count: int) -> Scored:
    """The first items that are asked in the cell, and all of their lengths. Raises TaskError."""
    chat = encoder.chat(library.scoring(cell))
    task = library.load(cell)
    instances = library.build_requests(cell, chat)
    documents: dict[int, list[Instance]] = {}
    for instance in instances:
        documents.setdefault(instance.doc_id, []).append(instance)
    told = says_right(task)
    golds = {number: right_answer(task, own[0].doc) if told else "" for number, own in documents.items()}
    lengths = {number: max(_tokens(encoder, one) for one in own) for number, own in documents.items()}
    shown = [
        Asked(number, str(own[0].args[0]), _options(own), golds[number], lengths[number])
        for number, own in list(documents.items())[:count]
    ]
    kinds = Counter(golds.values())
    most = {number: encoder.most(own[0]) for number, own in documents.items()}
    cut = sum(limit is not None and lengths[number] > limit for number, limit in most.items())
    return Scored(
        tuple(shown),
        _lengths(list(lengths.values()), min((n for n in most.values() if n is not None), default=None), cut),
        library.hidden.get((cell, "test"), 0),
        library.nulls.get((cell, "test"), 0),
        int(task.get_config("num_fewshot") or 0),
        chat is not None,
        library.metrics(cell) or tuple(task.aggregation()),
        dict(kinds.most_common()) if told and len(kinds) <= CLASSES else {},
    )


def model_named(models: Sequence[Model], name: str | None) -> Model | None:
    """The model of that name, the first where none is asked for; None where there is none."""
    return next((model for model in models if name in (None, model.name)), None)


def _row(encoder: Encoder, example: Example, row: Row) -> LearnedRow:
    learns, spans = set(row.places), list[Span]()
    start = 0
    for place in range(1, len(row.tokens) + 1):
        if place == len(row.tokens) or (place in learns) != (start in learns):
            tokens = row.tokens[start:place]
            spans.append(Span(encoder.tokenizer.decode(tokens), tokens, start in learns))
            start = place
    return LearnedRow(tuple(spans), len(row.tokens), _whole(encoder, example), row.truncated)


def _whole(encoder: Encoder, example: Example) -> int:
    """Tokens of an example that nothing is cut of; of a text those of all its chunks."""
    rows = tokenise(encoder.tokenizer, [replace(example, max_length=None)], WHOLE, "all")
    return sum(len(row.tokens) for row in rows)


def _tokens(encoder: Encoder, instance: Instance) -> int:
    texts = [part for part in instance.args if isinstance(part, str)]
    return len(encoder.tok_encode("".join(texts)))


def _options(instances: Sequence[Instance]) -> tuple[str, ...]:
    return tuple(str(one.args[1]) for one in instances if len(one.args) > 1)


def _lengths(found: Sequence[int], limit: int | None, cut: int) -> Lengths:
    return Lengths(len(found), min(found), round(statistics.median(found)), max(found), limit, cut)
