"""Errors with a meaning of their own: wrong input, a store that takes nothing more, a task without its data."""

from __future__ import annotations


class ConfigError(Exception):
    """Bad input, found before any work starts. The command line prints it and exits with 2."""

    def __init__(self, key: str, value: object, problem: str, fix: str) -> None:
        self.key, self.value, self.problem, self.fix = key, value, problem, fix
        super().__init__(key, value, problem, fix)

    def __str__(self) -> str:
        shown = str(self.value)
        shown = shown if len(shown) <= 200 else shown[:197] + "..."
        return f"{self.key} = {shown!r}: {self.problem}\n  fix: {self.fix}"


class StoreRefused(OSError):
    """The store cannot be used: its disk or quota is full, it is read-only, or the permission is missing.

    Trying again does not help before a person has mended it.
    """

    def __str__(self) -> str:
        return why(self)


def why(error: BaseException) -> str:
    """What an error says, without the number and the file that Python puts around it."""
    return (error.strerror or OSError.__str__(error)) if isinstance(error, OSError) else str(error)


class TaskError(Exception):
    """A task whose data cannot be had or read: its cell fails, the rest of the study goes on."""
