"""Linear modules whose weights bitsandbytes has quantised: which they are, what they hold, and how they are read.

Weights are packed and lie beside statistics that no module lists. Invariant: they are never written to, so that several
models may hold the same ones; and on every processor a module computes with the numbers that were loaded.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import torch
from torch import nn

from adapters.quantising.bitsandbytes import NAME, show

if TYPE_CHECKING:
    from bitsandbytes.nn import Linear4bit, Linear8bitLt
    from transformers import BitsAndBytesConfig


def is_quantised(module: nn.Module) -> TypeGuard[Linear4bit | Linear8bitLt]:
    """Whether a module holds such weights."""
    if sys.modules.get(NAME) is None:  # which those modules come from
        return False
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    return isinstance(module, Linear4bit | Linear8bitLt)


def quantised_in(base: nn.Module) -> Iterator[Linear4bit | Linear8bitLt]:
    """A model's modules that hold such weights."""
    return (module for module in base.modules() if is_quantised(module))


def any_quantised(base: nn.Module, names: Iterable[str]) -> bool:
    """Whether some of a base's modules of these full names hold such weights."""
    return any(is_quantised(base.get_submodule(name)) for name in names)


def rounds_input(module: nn.Module) -> bool:
    """Whether a module rounds what it reads to 8 bits, by what stands in the whole batch (LLM.int8())."""
    return is_quantised(module) and hasattr(module, "state")


def rounds_inputs(base: nn.Module) -> bool:
    """Whether some module of a model does so."""
    return any(map(rounds_input, base.modules()))


@contextmanager
def learning(base: nn.Module) -> Iterator[None]:
    """Within, quantised modules are in training mode, as in PEFT's own training: on a CPU inputs are not rounded then.

    All else of a base stays in evaluation mode, so that its dropout is off.
    """
    modules = list(quantised_in(base))
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for module in modules:
            module.eval()


def matrix_OI(module: Linear4bit | Linear8bitLt) -> torch.Tensor:
    """A copy of what its weights mean [out, in]."""
    from peft.utils.integrations import dequantize_bnb_weight

    weight = cast(nn.Parameter, module.weight)
    values: torch.Tensor = dequantize_bnb_weight(weight, getattr(module, "state", None))
    return values


def shared_by(base: nn.Module) -> Iterator[tuple[object, object]]:
    """What a model holds of quantised weights, each with what another model over the same numbers holds in its place.

    PEFT spoils what says where 8 bits lie, so that is another object.
    """
    for module in quantised_in(base):
        yield module.weight, module.weight
        yield (module.state, copy(module.state)) if rounds_input(module) else (module.quant_state, module.quant_state)


def settings(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """How transformers is told of the config's `quantization`: all else as it is by default."""
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    four: dict[str, Any] = {"bnb_4bit_quant_type": quantization, "bnb_4bit_compute_dtype": dtype}
    return BitsAndBytesConfig(load_in_4bit=True, **four)  # type: ignore[no-untyped-call]


def prepare() -> None:
    """Let models be loaded with such weights."""
    show()
    # it tells at each product that inputs are rounded, which is what LLM.int8() is
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def keep_as_loaded(base: nn.Module) -> None:
    """Let nothing be moved when the weights are first read.

    On some CPUs those of 4 bits would be packed anew, for products of half precision that have no gradients.
    """
    for module in quantised_in(base):
        if not rounds_input(module):
            module.support_avx512bf16_for_cpu = False
        elif getattr(module.weight, "CB", None) is not None:
            cast("Linear8bitLt", module).init_8bit_state()  # type: ignore[no-untyped-call]
