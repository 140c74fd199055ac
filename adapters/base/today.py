"""Today's date in chat templates: the same one on every day.

Templates such as Llama 3.2's write the date where nobody tells them one. What is learned, and what is asked, would be
another text on another day; whoever renders a chat template imports this.
"""

from __future__ import annotations

from datetime import datetime, tzinfo

from transformers.utils import chat_template_utils


class OneDay(datetime):
    """What Llama's chat templates say where nobody tells them a date, whatever the clock says."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> OneDay:
        return cls(2024, 7, 26, tzinfo=tz)


def stop_the_clock() -> None:
    """Let every chat template that is rendered in this process write that day."""
    chat_template_utils.datetime = OneDay  # type: ignore[misc]  # of which it asks no more than the time
