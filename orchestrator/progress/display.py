"""Shows a Progress: on a terminal one table that is redrawn, elsewhere a line every 15 s."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator.progress.numbers import STAGES, Progress, clock
from orchestrator.progress.tables import warn
from study.store.records import FailureRecord

PLAIN_EVERY_S, REDRAW_EVERY_S = 15.0, 0.5


class Display:
    """A context in which a Progress is shown."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console = progress, console
        self._live = Live(table(progress), console=console, auto_refresh=False) if console.is_terminal else None
        self._last = 0.0

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
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
            self._live.update(table(self._progress), refresh=True)
        else:
            self._console.print(self._progress.line(), highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        warn(self._console, text)

    def failure(self, failure: FailureRecord) -> None:
        text = f"FAILED {failure.unit}: {failure.kind}: {failure.message}"
        self._console.print(text, style="red", soft_wrap=True)


def table(progress: Progress) -> Table:
    """One row per stage."""
    result = Table("", *progress.count("train"))
    for stage, name in STAGES.items():
        result.add_row(name, *(f"{n:,}" for n in progress.count(stage).values()))
    eta = progress.eta_s()
    left = f"about {clock(eta)} left" if eta is not None else "warming up"
    evaluators = ", ".join(f"{model} {count}" for model, count in progress.evaluators.items() if count)
    running = f"running {clock(progress.seconds)} · {progress.tokens_per_s:,.0f} tokens/s · {left}{progress.silence()}"
    result.caption = f"{running}\nevaluators: {evaluators}" if evaluators else running
    return result
