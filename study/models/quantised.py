"""Models whose weights are quantised: by the config's `quantization`, or in their folders already.

Read are those of bitsandbytes, of which `BYTES` says what a weight holds, in linear modules alone: embeddings, output
head and norms stay what they are. What other libraries have quantised transformers reads where they are installed.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import Any

from study.errors import ConfigError
from study.models.shapes import Shapes

BYTES = {"nf4": 0.5 + 4 / 64, "fp4": 0.5 + 4 / 64, "int8": 1.0}  # with a float32 for each block of 64
LIBRARIES = {  # what transformers needs to load weights that are quantised so
    "aqlm": "aqlm",
    "auto-round": "auto_round",
    "awq": "gptqmodel",
    "compressed-tensors": "compressed_tensors",
    "gptq": "gptqmodel",
    "hqq": "hqq",
    "quanto": "optimum",
    "torchao": "torchao",
}
_BESIDE = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".SCB", ".weight_format")
_PACKED = {"uint8": 2, "bfloat16": 4, "float16": 4, "float32": 8}  # weights of 4 bits in a number of each type


def stated(config_json: Mapping[str, Any]) -> str | None:
    """How a folder's weights are quantised: nf4, fp4 or int8 by bitsandbytes, else the method's own name."""
    told = config_json.get("quantization_config")
    if not isinstance(told, Mapping) or not told:
        return None
    if told.get("load_in_8bit"):
        return "int8"
    if told.get("load_in_4bit"):
        return str(told.get("bnb_4bit_quant_type", "fp4"))
    return str(told.get("quant_method") or "an unnamed method")


def whole(shapes: Shapes, config_json: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of a folder's weights; of those that bitsandbytes has packed, how many there are."""
    if stated(config_json) not in BYTES:
        return dict(shapes)
    times = _PACKED.get(str(config_json["quantization_config"].get("bnb_4bit_quant_storage", "uint8")), 2)
    found = {}
    for name, shape in shapes.items():
        if not name.endswith(_BESIDE) and ".quant_state." not in name:
            found[name] = (math.prod(shape) * times, 1) if f"{name}.absmax" in shapes else shape
    return found


def check_quantised(config_json: Mapping[str, Any], asked: str | None, key: str, model: str) -> None:
    """Raise ConfigError where a folder's weights cannot be read, or are to be quantised though they are already.

    `asked` is the config's `quantization`, `key` the model's place in the config.
    """
    there = stated(config_json)
    if there is None:
        return
    if asked is not None:
        problem = f"the weights of {model} are quantised already ({there})"
        raise ConfigError(f"{key}.quantization", asked, problem, "leave it out, or take the model as it was before")
    library = LIBRARIES.get(there)
    if library is not None and importlib.util.find_spec(library) is None:
        problem = f"its weights are quantised by {there}, and the library {library} is not installed"
        fix = f"take the model as it was before, or install {library.replace('_', '-')} here and on all nodes"
        raise ConfigError(f"{key}.id", model, problem, fix)
