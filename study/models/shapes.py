"""What the names and shapes of a model's weights say of it, without their numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]

_LAYER = re.compile(r"\.(\d+)\.")  # the first number among the parts of a module's name
_ONE_OF_MANY = re.compile(r"experts\.\d+\.")  # its matrices become part of a parameter that holds several experts
_HEAD = {"lm_head", "embed_out", "output"}  # output heads: PEFT's all-linear leaves them out


@dataclass(frozen=True)
class Linear:
    """The linear modules of one last name, all layers together: how many, and what they take in and give out."""

    name: str
    modules: int
    taken: int
    given: int


@dataclass(frozen=True)
class Body:
    """What decides what a step of training holds: linear modules, the tokens that are known, and how wide they are.

    `beyond` are numbers that a token keeps beside what linear modules take and give; for planning to find out.
    """

    linear: tuple[Linear, ...] = ()
    vocabulary: int = 0
    width: int = 0
    beyond: int = 0


def body(shapes: Shapes) -> Body:
    """The largest of embeddings and heads tells tokens and width."""
    matrices = [shape for name, shape in shapes.items() if is_embedding(name) and len(shape) == 2]
    return Body(linear(shapes), *max(matrices, key=math.prod, default=(0, 0)))


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


def repeats(shapes: Shapes, config_json: Mapping[str, object]) -> bool:
    """Whether a config says more layers than the files hold: some stand in several places."""
    of_text = config_json.get("text_config")
    stated = (of_text if isinstance(of_text, Mapping) else config_json).get("num_hidden_layers")
    return isinstance(stated, int) and 0 < layers(shapes) < stated


def linear(shapes: Shapes) -> tuple[Linear, ...]:
    """What holds a matrix, but for embeddings and output head, by last name; experts of a mixture are left out.

    Of a matrix of which only the number of weights is known, as of one that is packed, it is taken to be square.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for name, shape in shapes.items():
        last = name.removesuffix(".weight").rsplit(".", 1)[-1]
        if name.endswith(".weight") and len(shape) == 2 and not is_embedding(last):
            sides = (math.isqrt(shape[0]),) * 2 if shape[1] == 1 else (shape[1], shape[0])
            found.setdefault(last, []).extend([] if _ONE_OF_MANY.search(name) else [sides])
    return tuple(
        Linear(last, len(sides), sum(side[0] for side in sides), sum(side[1] for side in sides))
        for last, sides in sorted(found.items())
    )


def is_embedding(name: str) -> bool:
    """Whether a tensor or module is an embedding or an output head, by its name."""
    last = name.removesuffix(".weight").removesuffix(".bias").rsplit(".", 1)[-1]
    return "embed" in last or last in {"wte", "wpe", *_HEAD}
