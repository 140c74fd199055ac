"""lm-eval beside PEFT: where it says other than the model with PEFT's modules, it has to be told why."""

from __future__ import annotations

from pathlib import Path

from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.models.resolve import Model
from tests.support.yardsticks import by_lm_eval, largest, why_lm_eval_differs
from tests.zoo.outcome import TOLERANCE, Outcome, Step

ASKED, WHY = "lm-eval", "why lm-eval differs"


def ask_lm_eval(found: Outcome, model: Model, quiz: TaskConfig, adapter: Path, by_peft: list[list[float]]) -> None:
    """Book how far lm-eval is from what PEFT says; where that is far, which habit of its own comes to its numbers."""
    theirs: list[list[float]] = []

    def ask() -> float:
        theirs.extend(by_lm_eval(Path(model.path), Path(str(quiz.include_path)), adapter))
        return largest(theirs, by_peft)

    found.ask(ASKED, ask)
    if theirs and found.steps[ASKED].outcome == "wrong":
        why = why_lm_eval_differs(model, TaskLibrary((quiz,), Scoring()), adapter, theirs, TOLERANCE)
        found.steps[WHY] = Step("wrong" if why is None else "right", why or "")
