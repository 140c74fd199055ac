"""How far a run is: counts, rates and an ETA, drawn as one live table, or as plain lines when not on a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator.failures import Failure

PLAIN_EVERY_S = 15.0


@dataclass
class Counts:
    """Units of one kind: all of them, those done before this run, done in it, failed in it."""

    total: int = 0
    before: int = 0
    done: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        return self.total - self.before - self.done - self.failed


@dataclass
class Progress:
    """The numbers of a run. `seconds` is how long it has been going on."""

    adapters: Counts
    scores: Counts
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)
    failures: list[Failure] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / max(self.seconds, 1e-9)

    def eta_s(self) -> float | None:
        """Seconds left if each kind goes on at its rate so far; None before there is a rate."""
        parts = [0.0]
        for counts in (self.adapters, self.scores):
            if counts.left and not counts.done:
                return None
            if counts.left:
                parts.append(counts.left * self.seconds / counts.done)
        return max(parts)

    def line(self) -> str:
        eta = self.eta_s()
        return (
            f"[{clock(self.seconds)}] adapters {_ratio(self.adapters)} · scores {_ratio(self.scores)} · "
            f"failed {self.adapters.failed + self.scores.failed} · {self.tokens_per_s:,.0f} tokens/s · "
            f"left {clock(eta) if eta is not None else 'unknown'}"
        )

    def table(self) -> Table:
        table = Table("", "done", "of", "this run", "failed", "left")
        for name, counts in (("adapters", self.adapters), ("scores", self.scores)):
            table.add_row(
                name,
                *(
                    f"{n:,}"
                    for n in (counts.before + counts.done, counts.total, counts.done, counts.failed, counts.left)
                ),
            )
        eta = self.eta_s()
        table.caption = (
            f"running {clock(self.seconds)} · {self.tokens_per_s:,.0f} tokens/s · about {clock(eta)} left"
            if eta is not None
            else f"running {clock(self.seconds)} · warming up"
        )
        return table


class Display:
    """Shows a Progress. On a terminal one table that is redrawn, elsewhere a line every 15 s and one per failure."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console = progress, console
        self._live = Live(progress.table(), console=console, refresh_per_second=2) if console.is_terminal else None
        self._last_line = 0.0

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.update()
        if self._live:
            self._live.stop()
        else:
            self._console.print(self._progress.line(), highlight=False, soft_wrap=True)

    def update(self) -> None:
        if self._live:
            self._live.update(self._progress.table())
        elif time.monotonic() - self._last_line >= PLAIN_EVERY_S:
            self._last_line = time.monotonic()
            self._console.print(self._progress.line(), highlight=False, soft_wrap=True)

    def failure(self, failure: Failure) -> None:
        self._console.print(
            f"FAILED {failure.unit}: {failure.kind}: {failure.message}", style="red", markup=False, soft_wrap=True
        )


def clock(seconds: float) -> str:
    """h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _ratio(counts: Counts) -> str:
    return f"{counts.before + counts.done:,}/{counts.total:,}"
