"""From Parquet to tables, figures, report and advice.

Idea: every statistic is a pure function from a frame to a frame, in one module per idea, which also states the tables
it makes (`frames.Table`); reading the store and writing files happen at the two ends (`reading`, `page.files`). Imports
nothing of ours but `study`, and of that neither data nor models.

From Python: `analysis.open("runs/mine")` (docs/python.md).
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.opened import Opened

__all__ = ["open"]


def open(store: str | PathLike[str]) -> Opened:
    """Open a study to ask it questions: a folder, a bucket's URI, or a published CSV. Raises ConfigError."""
    from analysis.opened import opened

    return opened(store)
