"""What the names and shapes of a model's weights say of it, without their numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]

_LAYER = re.compile(r"\.(\d+)\.")  # the first number among the parts of a module's name
_HEAD = {"lm_head", "embed_out", "output"}  # output heads: PEFT's all-linear leaves them out


def count(shapes: Shapes) -> int:
    """How many numbers there are."""
    return sum(math.prod(shape) for shape in shapes.values())


def embedded(shapes: Shapes) -> int:
    """How many of them are of embeddings and output heads."""
    return count({name: shape for name, shape in shapes.items() if is_embedding(name)})


def layers(shapes: Shapes) -> int:
    """How many decoder layers there are."""
    return max((int(found[1]) + 1 for name in shapes if (found := _LAYER.search(f".{name}"))), default=0)


def is_mixed(shapes: Shapes) -> bool:
    """Whether some weights are no matrix of one linear module each."""
    return any(len(shape) > 2 or "expert" in name for name, shape in shapes.items())


def linear_modules(shapes: Shapes) -> tuple[str, ...]:
    """List the last names of the modules that hold a matrix, but for embeddings and output head."""
    matrices = {
        n.removesuffix(".weight").rsplit(".", 1)[-1] for n, s in shapes.items() if n.endswith(".weight") and len(s) == 2
    }
    return tuple(sorted(m for m in matrices if not is_embedding(m)))


def is_embedding(name: str) -> bool:
    """Whether a tensor or module is an embedding or an output head, by its name."""
    last = name.removesuffix(".weight").removesuffix(".bias").rsplit(".", 1)[-1]
    return "embed" in last or last in {"wte", "wpe", *_HEAD}
