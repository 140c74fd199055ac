"""The YAML text of a config as a mapping. What is wrong is told by its place: a file not meant for it is not shown."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import yaml

from study.bounded import BoundedLoader, read_yaml
from study.errors import ConfigError, why


class _Loader(BoundedLoader):
    """YAML in which a key that stands twice is an error, not a silent replacement."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[object, object]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            continue  # YAML's own error follows
        if key in seen:
            line = key_node.start_mark.line + 1
            raise ConfigError(str(key), f"line {line}", "the key stands twice in one mapping", "keep one of them")
        seen.add(key)
    return dict(loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: Path) -> dict[str, object]:
    """The mapping that a YAML file holds. Raises ConfigError."""
    fix = "name a YAML file, e.g. examples/quickstart/study.yaml"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError("CONFIG", path, f"cannot be read ({why(error)})", fix) from error
    except UnicodeDecodeError as error:
        problem = f"cannot be read ({error.reason} at byte {error.start}, as UTF-8)"
        raise ConfigError("CONFIG", path, problem, fix) from None
    return mapping_of(text, str(path))


def mapping_of(text: str, file: str = "the text") -> dict[str, object]:
    """The same of a text. `file` is what it is called."""
    try:
        data = read_yaml(text, _Loader)
    except ConfigError as error:
        raise ConfigError(error.key, f"{error.value} of {file}", error.problem, error.fix) from None
    except ValueError as error:
        raise ConfigError("CONFIG", file, f"is not valid YAML: {error}", "mend the line it names") from None
    if not isinstance(data, dict):
        problem = f"holds a {type(data).__name__}, not a mapping of keys to values"
        raise ConfigError("CONFIG", file, problem, "start from examples/quickstart/study.yaml")
    return data
