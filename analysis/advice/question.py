"""What may be asked of a study, and who answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType

from analysis.advice import answers
from analysis.advice.advice import Advice
from analysis.reading.study import Study
from analysis.statistics.languages.distances import with_own
from study.errors import ConfigError


@dataclass(frozen=True)
class Question:
    """One of three: who helps a `target`, what a `source` does, which `budget` of sources to train next."""

    target: str | None = None
    source: str | None = None
    budget: int | None = None
    max_harm: float | None = None  # of a target: leave out sources that harm more of their targets, %
    model: str | None = None  # one only; else means over models
    recipe: str | None = None  # needed where the study has several
    distances: str | None = None  # a file of distances of languages of one's own

    def check(self) -> None:
        """Raise ConfigError where it asks for nothing, or for several things."""
        asked = [name for name in ("target", "source", "budget") if getattr(self, name) is not None]
        if len(asked) != 1:
            problem = f"{', '.join(asked)} are {len(asked)} questions" if asked else "nothing is asked"
            raise ConfigError("question", " ".join(asked) or None, problem, "give one of target, source and budget")
        for key in ("target", "source", "model", "recipe"):
            if not isinstance(getattr(self, key), str | None):
                raise ConfigError(f"--{key}", getattr(self, key), "that is no text", "give a name")
        if self.budget is not None and (not _is(self.budget, int) or self.budget < 1):
            raise ConfigError("--budget", self.budget, "that is no number of sources", "give 1 or more")
        if self.max_harm is not None and not (_is(self.max_harm, int | float) and 0 <= self.max_harm <= 100):
            raise ConfigError("--max-harm", self.max_harm, "that is no share", "give a number from 0 to 100")


def _is(value: object, kind: type | UnionType) -> bool:
    """Whether a value is a number of a kind; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def answer(read: Callable[[], Study], question: Question) -> Advice:
    """Check a question, then read the study and ask it; ConfigError when there is no answer."""
    question.check()
    study = with_own(answers.chosen(read(), question.model, question.recipe), question.distances)
    if question.budget is not None:
        return answers.next_to_train(study, question.budget)
    if question.target is not None:
        return answers.about_target(study, question.target, question.max_harm)
    return answers.about_source(study, str(question.source))
