"""A base over several GPUs of a machine: some of its layers, one after the other, on each.

A batch goes from GPU to GPU: accelerate's hooks bring what a part reads to it. What the base says stays where its last
part lies. Invariant: layers stay whole, and nothing lies outside of these GPUs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel


def placed(shell: PreTrainedModel, devices: Sequence[torch.device]) -> dict[str, torch.device]:
    """Which device holds which of a base's parts, so that the fullest holds as little as can be. It needs no weights.

    What has no weights lies where the input does, and what is tied beside what it is tied to: where layers share
    weights, as in zamba, the fullest then holds more than it has to. Raises ValueError for a base that cannot be split,
    with the reason.
    """
    from transformers.integrations.accelerate import compute_module_sizes

    whole = frozenset(shell._no_split_modules or ())
    if not whole:
        raise ValueError("transformers does not know which of its parts have to stay together")
    parts, sizes = dict(_parts("", shell, whole)), compute_module_sizes(shell, only_modules=False)[0]
    weighing = [name for name, weighs in parts.items() if weighs]
    numbers = dict.fromkeys(parts, 0)
    numbers.update(zip(weighing, dealt([sizes[name] for name in weighing], len(devices)), strict=True))

    def holder(weight: str) -> str:
        return next(name for name in parts if weight == name or weight.startswith(f"{name}."))

    for tied, source in shell.all_tied_weights_keys.items():
        numbers[holder(tied)] = numbers[holder(source)]
    return {name: devices[number] for name, number in numbers.items()}


def dealt(sizes: Sequence[int], count: int) -> list[int]:
    """Give each of a row of things to one of `count` holders, in order, so that the most that one holds is least."""

    def within(most: int) -> list[int]:
        numbers, number, held = [], 0, 0
        for size in sizes:
            number, held = (number + 1, size) if held and held + size > most else (number, held + size)
            numbers.append(number)
        return numbers

    limits = range(max(sizes), sum(sizes) + 1)
    return within(limits[bisect_left(limits, True, key=lambda most: within(most)[-1] < count)])


def _parts(name: str, module: nn.Module, whole: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """The names of modules that stay whole, and of tensors beside them, each with whether there are weights."""
    children = dict(module.named_children())
    if not children or type(module).__name__ in whole:
        if any(True for _ in (*module.parameters(), *module.buffers())):
            yield name, any(True for _ in module.parameters())
        return
    before = f"{name}." if name else ""
    yield from ((f"{before}{own}", True) for own, _ in module.named_parameters(recurse=False))
    yield from ((f"{before}{own}", False) for own, _ in module.named_buffers(recurse=False))
    for own, child in children.items():
        yield from _parts(f"{before}{own}", child, whole)


def settle(base: PreTrainedModel) -> None:
    """Have a base that was loaded so read its input where its first part lies, and leave what it says on the last.

    accelerate takes any of the devices for the input, brings what is said back to it, and puts functions of this very
    base in place of two methods, which its copies would have, too.
    """
    hook = cast(Any, base)._hf_hook
    hook.execution_device, hook.io_same_device = base.device, False
    for name in ("to", "cuda"):
        vars(base).pop(name, None)


def devices_of(model: Any) -> tuple[torch.device, ...]:
    """The devices on which a model lies, first that of its input."""
    others = dict.fromkeys(map(torch.device, getattr(model, "hf_device_map", {}).values()))
    return tuple(dict.fromkeys([model.device, *others]))
