"""Trouble that passes by itself: errors of a network or server, after which the same request may work later.

Libraries wrap one another here (datasets, huggingface_hub, httpx, requests), so classes are known by their names.
"""

from __future__ import annotations

from collections.abc import Iterator

HTTP_LATER = {408, 425, 429, 500, 502, 503, 504}  # RFC 9110, 6585, 8470
_LATER = ("Connection", "Timeout", "RemoteProtocolError", "ReadError", "WriteError", "NetworkError", "ChunkedEncoding")


class Unreachable(ConnectionError):
    """Data that cannot be fetched for now: worth another try, unlike a `TaskError`."""


def http_status(error: BaseException) -> int | None:
    """Find the HTTP status that an exception, or its cause, carries."""
    for one in _chain(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def is_network_trouble(error: BaseException) -> bool:
    """Whether a connection or a server, not what was asked for, is at fault."""
    if (status := http_status(error)) is not None:
        return status in HTTP_LATER
    if type(error).__name__ == "LocalEntryNotFoundError":  # the Hub could not be asked, and the cache does not have it
        return True
    return is_network_name(*(kind.__name__ for kind in type(error).__mro__[:-3]))


def is_network_name(*names: str) -> bool:
    """Whether one of these names of exception classes means network trouble."""
    return any(mark in name for name in names for mark in _LATER)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
