"""YAML and JSON of strangers, read within bounds.

Invariant: whatever the text, what comes back has a bounded size and depth, and everything else is a ValueError of one
line that quotes nothing of it: the file may not have been meant. YAML's aliases count as what they stand for.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

MOST_BYTES, MOST_VALUES, MOST_DEPTH = 64 << 20, 1_000_000, 100
_QUOTED = re.compile(r"'[^']{3,}'?")


class BoundedLoader(yaml.SafeLoader):
    """Safe YAML that is no deeper and no larger than the bounds, however its aliases refer to each other."""

    def __init__(self, text: str | bytes) -> None:
        if len(text) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        super().__init__(text)
        self._depth = 0
        self._known: dict[int, tuple[int, int]] = {}  # of each node that is whole: how many values, how deep

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
        is_alias = self.check_event(yaml.AliasEvent)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._known:
            raise ValueError("a value refers to itself")
        if not is_alias and node is not None:
            self._known[id(node)] = self._measure(node)
        return node

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        inner = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
        known = [self._known[id(one)] for one in inner] if isinstance(node, yaml.CollectionNode) else []
        values, depth = 1 + sum(one for one, _ in known), 1 + max((deep for _, deep in known), default=0)
        if values > MOST_VALUES or depth > MOST_DEPTH:
            raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values, or {MOST_DEPTH} levels")
        return values, depth


def read_yaml(text: str | bytes, loader: type[BoundedLoader] = BoundedLoader) -> object:
    """The value of a YAML text. Raises ValueError."""
    try:
        return loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{_unquoted(error.problem or error.context or '')}{where}") from None
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise ValueError(f"it cannot be read: {type(error).__name__}") from None
    except ValueError as error:  # of a number or a date
        raise ValueError(_unquoted(str(error))) from None


def _unquoted(problem: str) -> str:
    return _QUOTED.sub("'…'", problem.partition("\n")[0])


def read_json(text: str | bytes) -> object:
    """The value of a JSON text. Raises ValueError."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_mapping(text: str | bytes) -> dict[str, Any]:
    """The mapping that a JSON text holds. Raises ValueError."""
    read = read_json(text)
    if not isinstance(read, dict):
        raise ValueError(f"it holds a {type(read).__name__}, not a mapping")
    return read
