"""What becomes of a thing that is tried: right, wrong by so much, refused or crashed, in words. Kept as JSON lines.

A line says what is begun before it is tried, so that a process that dies leaves word; what is there is not tried again.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from adapters.folders.folder import UnsupportedAdapter
from evaluators.subjects.on_base import AdapterError
from study.errors import ConfigError, TaskError

TOLERANCE = 1e-3  # nats, float32
REFUSALS = (ConfigError, TaskError, AdapterError, UnsupportedAdapter)


@dataclass
class Step:
    """One question about a thing: `off` is the largest difference in nats where numbers were compared."""

    outcome: str  # right | wrong | refused | crashed
    words: str = ""
    off: float | None = None


@dataclass
class Outcome:
    """All answers about one thing, by the question's name, in the order in which they were asked."""

    name: str
    steps: dict[str, Step] = field(default_factory=dict)
    about: dict[str, object] = field(default_factory=dict)

    def ask(self, question: str, answer: Callable[[], float | None]) -> bool:
        """Book what an answer comes to: a difference in nats, None where it is right as it is. Whether it is right."""
        try:
            off = answer()
        except Exception as error:  # noqa: BLE001  # anything can be raised: that is what is asked
            self.steps[question] = refused_or_crashed(error)
            return False
        right = off is None or off <= TOLERANCE
        self.steps[question] = Step("right" if right else "wrong", "", off)
        return right


class Refused(Exception):
    """The product says no, in its own words."""


class Crashed(Exception):
    """The product reports a bug, in its own words."""


def refused_or_crashed(error: Exception) -> Step:
    words = " ".join(str(error).split())[:400]
    if isinstance(error, (Refused, *REFUSALS)):
        return Step("refused", words)
    where = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if "/zoo/" in f.filename), None)
    place = f" ({Path(where.filename).name}:{where.lineno})" if where else ""
    kind = "" if isinstance(error, Crashed) else f"{type(error).__name__}: "
    return Step("crashed", f"{kind}{words}{place}")


def walk(names: Iterable[str], file: Path, seconds: float, one: Callable[[str], Outcome]) -> bool:
    """Try each that the file does not have yet, for so long; returns whether all are there."""
    known = read(file)
    ends = time.monotonic() + seconds
    with file.open("a", encoding="utf-8") as out:
        for name in names:
            if name in known:
                continue
            if time.monotonic() > ends:
                return False
            print(json.dumps({"begun": name}), file=out, flush=True)
            began = time.monotonic()
            outcome = one(name)
            outcome.about["seconds"] = round(time.monotonic() - began, 2)
            print(json.dumps(asdict(outcome), default=str), file=out, flush=True)
            print(name, {question: (s.outcome, s.off, s.words) for question, s in outcome.steps.items()}, flush=True)
    return True


def part(names: list[str], which: str) -> list[str]:
    """The names that fall to one of several processes: `which` is its number and how many there are, as 1/2."""
    number, count = map(int, which.split("/"))
    return names[number - 1 :: count]


def read(file: Path) -> dict[str, Outcome]:
    """What a file holds, by name; what was begun and never ended has crashed."""
    found: dict[str, Outcome] = {}
    if not file.exists():
        return found
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "begun" in entry:
            found[entry["begun"]] = Outcome(entry["begun"], {"process": Step("crashed", "the process died")})
        else:
            steps = {question: Step(**step) for question, step in entry["steps"].items()}
            found[entry["name"]] = Outcome(entry["name"], steps, entry["about"])
    return found
