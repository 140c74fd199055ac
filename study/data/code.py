"""Python that a task's YAML file names: lm-eval's own is trusted, what lies elsewhere runs where the config says so.

Invariant: nothing here runs or imports any of it; files are read as far as their `!function` and `include` go.
"""

from __future__ import annotations

from pathlib import Path

import lm_eval.tasks
import yaml

from study.config import TaskConfig
from study.errors import ConfigError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CODE = ("!", "tag:yaml.org,2002:python/")
LM_EVAL = Path(lm_eval.tasks.__file__).resolve().parent


def check_trusted(task: TaskConfig, file: Path | None) -> None:
    """Raise ConfigError where a task's file, or one that it includes, has code of its own that nobody has allowed."""
    if task.trust_code or file is None:
        return
    if (found := first_function(file.resolve())) is not None:
        where, function = found
        problem = f"{where} runs code that is not lm-eval's own: !function {function}"
        raise ConfigError(f"tasks[{task.name}].trust_code", False, problem, "read it, then set trust_code: true")


def first_function(file: Path) -> tuple[Path, str] | None:
    """The first `!function` that a file or its includes name outside lm-eval, and the file in which it stands."""
    to_read, read = [file], set[Path]()
    while to_read:
        one = to_read.pop()
        if one in read or one.is_relative_to(LM_EVAL):
            continue
        read.add(one)
        root = _composed(one)
        for node in _nodes(root):
            if node.tag.startswith(_CODE):
                return one, str(node.value)[:100]
        to_read += [(one.parent / name).resolve() for name in _includes(root)]
    return None


def _composed(file: Path) -> yaml.Node | None:
    """The file's nodes, not made into values; None for one that lm-eval cannot read either, and says so."""
    try:
        return yaml.compose(file.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _nodes(root: yaml.Node | None) -> list[yaml.Node]:
    found, to_see, seen = [], [root] if root is not None else [], set[int]()
    while to_see:
        node = to_see.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        found.append(node)
        if isinstance(node, yaml.MappingNode):
            to_see += [one for pair in node.value for one in pair]
        elif isinstance(node, yaml.SequenceNode):
            to_see += node.value
    return found


def _includes(root: yaml.Node | None) -> list[str]:
    """The files that `include` names, at any place: lm-eval looks at the top alone."""
    found = []
    for node in _nodes(root):
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value == "include":
                found += [one.value for one in _nodes(value) if isinstance(one, yaml.ScalarNode)]
    return found
