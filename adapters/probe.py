"""What a base does with its tokens and its linear modules, found by running it on a few.

Whether earlier logits know of later tokens; how each linear module sees the rows of a batch; and whether anything but
the module's own forward reads its matrix. A list of architectures would be out of date; the model itself is not.

Shapes: B rows of T tokens, I features of a module's input, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

ROWS, TOKENS = 3, 24
TOLERANCE = {4: 1e-3, 2: 0.25}  # nats that an earlier logit may move for rounding, by the bytes of a number
Sight = Literal["rows", "flat", "other", "unseen"]  # [B, …, I]; [B * T, I], row by row; neither; no token at all


@dataclass(frozen=True)
class Probe:
    """`later`: how far (nats) later tokens move earlier logits. `sight` and `read_elsewhere` are of linear modules."""

    later: float
    tolerance: float
    sight: Mapping[str, Sight]
    read_elsewhere: frozenset[str]

    @property
    def is_causal(self) -> bool:
        return self.later <= self.tolerance


@torch.inference_mode()
def probe(base: Any) -> Probe:
    """Run a base a few times on tokens drawn from a seed. Raises what the base raises."""
    vocabulary = int(base.get_input_embeddings().weight.shape[0])
    draw = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(vocabulary, (ROWS, TOKENS), generator=draw).to(base.device)
    changed_BT = tokens_BT.clone()
    changed_BT[:, TOKENS // 2 :] = torch.randint(vocabulary, (ROWS, TOKENS - TOKENS // 2), generator=draw)
    modules = {name: module for name, module in base.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    with _inputs(modules) as seen:
        before = _logprobs(base, tokens_BT)
    with _inputs(modules) as seen_alone:
        _logprobs(base, tokens_BT[:1])
    after = _logprobs(base, changed_BT)
    later = float((after - before)[:, : TOKENS // 2].abs().max())
    sight = {name: _sight(seen[name], seen_alone[name]) for name in modules}
    return Probe(later, TOLERANCE.get(base.dtype.itemsize, 1e-3), sight, _read_elsewhere(base, modules, tokens_BT[:1]))


def _logprobs(base: Any, tokens_BT: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(base(input_ids=tokens_BT, use_cache=False).logits.float(), -1)


@contextmanager
def _inputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Within, what each module is given, call by call."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in modules}
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, calls=seen[name]: calls.append(inputs[0]))
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _sight(together: Sequence[torch.Tensor], alone: Sequence[torch.Tensor]) -> Sight:
    """How a module sees a batch, from its inputs for the batch and for the batch's first row alone."""
    if not together:
        return "unseen"
    if len(together) != len(alone):
        return "other"
    found = {_shape(x, first) for x, first in zip(together, alone, strict=True)}
    return found.pop() if len(found) == 1 else "other"


def _shape(x: torch.Tensor, first: torch.Tensor) -> Sight:
    rest = x.shape[1:]
    if x.dim() > 2 and len(x) == ROWS and first.shape == (1, *rest):
        ours, own, sight = x[:1], first, "rows"
    elif x.shape == (ROWS * TOKENS, *rest) and first.shape == (TOKENS, *rest):
        ours, own, sight = x[:TOKENS], first, "flat"
    else:
        return "other"
    close = torch.allclose(ours.float(), own.float(), rtol=0.05, atol=0.05 * float(own.abs().max()))
    return cast(Sight, sight) if close else "other"


def _read_elsewhere(base: Any, modules: Mapping[str, nn.Module], tokens_BT: torch.Tensor) -> frozenset[str]:
    """Modules whose matrix reaches the logits by another way than their forward: each in turn with those named alike.

    Their matrices are NaN while their forwards compute with the true ones. One that several modules share is read
    elsewhere too.
    """
    alike: dict[str, dict[str, nn.Module]] = {}
    for name, module in modules.items():
        alike.setdefault(name.rpartition(".")[2], {})[name] = module
    owners = Counter(id(weight) for module in base.modules() for weight in module.parameters(recurse=False))
    found = {name for name, module in modules.items() if owners[id(module.weight)] > 1}
    if not _spoils(base, modules, tokens_BT):
        return frozenset(found)
    spoilt = [group for group in alike.values() if _spoils(base, group, tokens_BT)]
    found |= {name for group in spoilt for name, one in group.items() if _spoils(base, {name: one}, tokens_BT)}
    return frozenset(found)


def _spoils(base: Any, modules: Mapping[str, nn.Module], tokens_BT: torch.Tensor) -> bool:
    """Whether NaN in place of these modules' matrices reaches the logits although their forwards do not see it."""
    matrices = {module: cast(torch.Tensor, module.weight) for module in modules.values()}
    true = {module: matrix.data for module, matrix in matrices.items()}

    def put_back(module: nn.Module, _: object) -> None:
        matrices[module].data = true[module]

    def take_away(module: nn.Module, *_: object) -> None:
        matrices[module].data = true[module].new_full((), float("nan")).expand(true[module].shape)

    hooks: list[RemovableHandle] = [module.register_forward_pre_hook(put_back) for module in true]
    hooks += [module.register_forward_hook(take_away, always_call=True) for module in true]
    try:
        for module in true:
            take_away(module)
        return not bool(torch.isfinite(_logprobs(base, tokens_BT)).all())
    finally:
        for hook in hooks:
            hook.remove()
        for module in true:
            put_back(module, None)
