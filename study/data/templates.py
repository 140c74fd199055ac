"""Templates of configs and tasks are texts of strangers: they render in Jinja's immutable sandbox.

There they read what a document holds and call what changes nothing; an attribute that leads to code, and a change of a
document, is a SecurityError. Chat templates render in transformers' own such sandbox. Invariant: what renders without a
SecurityError is what lm-eval's own environment gives.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, UndefinedError
from jinja2.nodes import Template as Parsed
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval import utils

KEPT_TEMPLATES = 1024


class _Told(Template):
    """A template that says, of a name that is no column, which columns there are."""

    def render(self, *arguments: Any, **columns: Any) -> str:
        try:
            return super().render(*arguments, **columns)
        except UndefinedError as error:
            raise UndefinedError(f"{error.message}; columns are {', '.join(columns)}") from error


class Sandbox(ImmutableSandboxedEnvironment):
    """lm-eval's environment without code. A template is compiled once, not anew per document.

    Compiling was nine tenths of the time that building requests takes.
    """

    template_class = _Told

    def __init__(self) -> None:
        super().__init__(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
        self.filters["regex_replace"] = utils.regex_replace
        self._compiled = lru_cache(KEPT_TEMPLATES)(super().from_string)

    def from_string(
        self,
        source: str | Parsed,
        globals: MutableMapping[str, Any] | None = None,
        template_class: type[Template] | None = None,
    ) -> Template:
        if globals is None and template_class is None:
            return self._compiled(source)
        return super().from_string(source, globals, template_class)


def use_sandbox() -> None:
    """Let lm-eval render in a sandbox, whatever asks it to."""
    if not isinstance(utils.env, Sandbox):
        utils.env = Sandbox()
