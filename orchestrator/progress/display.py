"""Shows a Progress: on a terminal one table that is redrawn, elsewhere a line every 15 s."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.progress.numbers import STAGES, Progress, clock
from orchestrator.progress.tables import alike, line, warn
from study.plain import plain
from study.store.records import FailureRecord

PLAIN_EVERY_S, REDRAW_EVERY_S = 15.0, 0.5
TOLD = 3  # failures that are alike


class Display:
    """A context in which a Progress is shown."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console = progress, console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._last = 0.0
        self._alike: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._last = 0.0
        self.update()
        if self._live:
            self._live.stop()

    def update(self) -> None:
        """Show the numbers as they are, if it is time to."""
        now = time.monotonic()
        if now - self._last < (REDRAW_EVERY_S if self._live else PLAIN_EVERY_S):
            return
        self._last = now
        if self._live:
            self._live.start()  # with the first numbers
            self._live.update(table(self._progress), refresh=True)
        else:
            line(self._console, self._progress.line())

    def warn(self, text: str) -> None:
        warn(self._console, text)

    def set_back(self, seconds: float) -> None:
        self.warn(
            f"this machine's clock was set back by {clock(seconds)}: parts of Ray wait until it is as late again. "
            "Where nothing goes on, stop this run, start its cluster anew and run it again"
        )

    def failure(self, failure: FailureRecord) -> None:
        """Tell of it, unless as many have failed alike: those are counted, and told of at the end."""
        shared = alike(failure)
        self._alike[shared] += 1
        if self._alike[shared] > TOLD:
            return
        more = "; more that fail alike are only counted" * (self._alike[shared] == TOLD)
        line(self._console, f"FAILED {failure.unit}: {failure.kind}: {failure.message}{more}", "red")


def table(progress: Progress) -> Group:
    """One row per stage; below it how it goes, as wide as the terminal."""
    result = Table("", *progress.count("train"))
    for stage, name in STAGES.items():
        result.add_row(name, *(f"{n:,}" for n in progress.count(stage).values()))
    evaluators = ", ".join(f"{model} {count}" for model, count in progress.evaluators.items() if count)
    running = f"running {clock(progress.seconds)} · {progress.pulse()}{progress.left()}{progress.silence()}"
    below = [running, *([f"evaluators: {evaluators}"] if evaluators else [])]
    return Group(result, *(Text(plain(text)) for text in below))
