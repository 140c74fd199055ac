"""Prompts that a model does not read whole: they lose their beginning, where an instruction stands, or a text's lead.

Counted as lm-eval cuts them: a prompt with the option that is most tokens, or one that leaves room for the longest
answer. Only a text with as many bytes as the model has positions can have more tokens than these, so few are tokenised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from orchestrator.costs.tokens import TokenCounter, counter_of
from orchestrator.planning.survey import Question, Survey
from study.cells import Cell
from study.models.fits import longest
from study.models.resolve import Model

Cut = Mapping[str, Mapping[str, int]]  # by model and cell
ANSWER = 256  # tokens of an answer at most, where its task does not say: lm-eval's number
_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


def cut_prompts(models: Sequence[Model], found: Survey) -> Cut:
    """Count them by model and target, where there are any; nothing of a model that does not say how much it reads."""
    told = {}

    @cache  # of all models that say how much they read
    def most_bytes(cell: Cell) -> int:
        return max(map(_bytes, found.target_texts[cell]), default=0)

    for model in models:
        if (reads := longest(model)) is not None:
            counter = cache(partial(counter_of, model))  # a tokenizer takes time to read, and few studies need it
            cut = ((cell, _cut(counter, found, cell, reads, most_bytes)) for cell in found.targets)
            if own := {str(cell): count for cell, count in cut if count}:
                told[model.name] = own
    return told


def _cut(
    counter: Callable[[], TokenCounter], found: Survey, cell: Cell, reads: int, most_bytes: Callable[[Cell], int]
) -> int:
    """Questions of a target that are longer than is read of them, of `most_bytes` at most."""
    first = found.library.load(cell).instances[0]
    if first.request_type == "loglikelihood_rolling":  # read in windows, all of it
        return 0
    # of what is scored the last token is not read: it is predicted only
    most = reads - _answer(first.args[1]) if first.request_type == "generate_until" else reads + 1
    scoring = found.library.scoring(cell)
    around = counter().around(scoring) if scoring.apply_chat_template else 0
    if most_bytes(cell) + around < most:
        return 0
    asked = ((i, one) for i, one in enumerate(found.target_texts[cell]) if _bytes(one) + around >= most)
    long = [(i, text) for i, one in asked for text in _texts(one) if len(text.encode()) + around >= most]
    counts = counter().count([text for _, text in long])
    return len({i for (i, _), count in zip(long, counts, strict=True) if count + around > most})


def _texts(asked: Question) -> list[str]:
    return [asked.prompt + option for option in asked.options or ("",)]


def _bytes(asked: Question) -> int:
    return len(asked.prompt.encode()) + max((len(option.encode()) for option in asked.options), default=0)


def _answer(stated: Mapping[str, object]) -> int:
    return next((int(str(stated[name])) for name in _NAMES if stated.get(name) is not None), ANSWER)
