"""Python that a task's YAML file names: lm-eval's own is trusted, what lies elsewhere runs where the config says so.

A metric that lm-eval does not know is code too: `evaluate` imports it, from a folder or from the Hub.
Invariant: nothing here runs or imports any of it; files are read as lm-eval reads them, and what cannot be is refused.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import lm_eval.tasks
import yaml
from lm_eval.api.registry import METRIC_REGISTRY

from study.config import TaskConfig
from study.errors import ConfigError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CODE, _NULL = ("!", "tag:yaml.org,2002:python/"), "tag:yaml.org,2002:null"
_NO = ("false", "no", "off", "~", "null", "")
LM_EVAL = Path(lm_eval.tasks.__file__).resolve().parent


def check_trusted(task: TaskConfig, file: Path | None) -> None:
    """Raise ConfigError where a task's file, or one that it includes, has code of its own that nobody has allowed."""
    if task.trust_code or file is None:
        return
    if (found := first_code(file.resolve())) is not None:
        where, what = found
        problem = f"{where} runs code that is not lm-eval's own: {what}"
        raise ConfigError(f"tasks[{task.name}].trust_code", False, problem, "read it, then set trust_code: true")


def first_code(file: Path) -> tuple[Path, str] | None:
    """The first code that a file or its includes name outside lm-eval, and the file in which it stands."""
    to_read, read = [file], set[Path]()
    while to_read:
        one = to_read.pop()
        if one in read or one.is_relative_to(LM_EVAL):
            continue
        read.add(one)
        try:
            root = yaml.compose(one.read_bytes(), Loader=_LOADER)
            to_read += [(one.parent / name).resolve() for name in _includes(root)]
        except OSError:  # lm-eval cannot read it either, and says so
            continue
        except (ValueError, yaml.YAMLError) as error:
            return one, f"what it has cannot be known ({' '.join(str(error).split())[:100]})"
        for node in _nodes(root):
            if (found := _code(node)) is not None:
                return one, found
    return None


def _code(node: yaml.Node) -> str | None:
    """Say what code a node names, by its tag or as a metric to look for; None where it names none."""
    if node.tag.startswith(_CODE):
        return f"!function {str(node.value)[:100]}"
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        stated = str(value.value)[:100]
        if value.tag.startswith(_CODE):
            continue
        if key.value == "metric" and stated not in METRIC_REGISTRY:
            near = difflib.get_close_matches(stated, METRIC_REGISTRY, n=1)
            return f"metric {stated!r}, which `evaluate` would look for{f', did you mean {near[0]}?' if near else ''}"
        if key.value == "hf_evaluate" and stated.lower() not in _NO:
            return "hf_evaluate, a metric that `evaluate` looks for"
        if key.value == "process_results" and value.tag == _NULL:
            return "process_results: null, which has `evaluate` look for the metrics"
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
