"""What adapters of a base are and keep in a step of training, found without its weights, where its files do not tell.

Linear modules tell it of a plain stack of layers (`held`). Experts, scans and blocks that stand in several places keep
what no matrix in a file shows: there tokens are followed through the base on torch's device for shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from adapters.bank.bank import LoraBank
from adapters.base.device import read_no_texts
from adapters.folders.sites import Site, sites_named
from adapters.folders.targeting import linear, meant
from adapters.kinds.held import PER_NUMBER_OF_HALF, held
from study.models.shapes import Body, Linear

TOKENS = 256  # of a text: as many as scans go through at once


def body_of(shell: PreTrainedModel, body: Body, dtype: str, are_all_meant: bool) -> Body:
    """The body of a base by its files, with its linear modules as it is loaded, and what a token keeps `beyond` these.

    Those that `all-linear` means, or all. The shell has none of its weights, and is good for nothing else afterwards.
    """
    sites = sites_named(shell, meant(shell, "all-linear") if are_all_meant else linear(shell))
    found = by_name(sites)
    kept = _kept(shell, sites, dtype)
    beyond = 0 if kept is None else round(kept - held(found, found, 1, has_dropout=False).numbers)
    return replace(body, linear=found, beyond=beyond)


def by_name(sites: Sequence[Site]) -> tuple[Linear, ...]:
    """By last names, all layers together."""
    of: dict[str, list[Site]] = {}
    for site in sites:
        of.setdefault(site.name.rpartition(".")[2], []).append(site)
    return tuple(
        Linear(name, len(own), sum(one.fan_in for one in own), sum(one.fan_out for one in own))
        for name, own in sorted(of.items())
    )


def _kept(shell: PreTrainedModel, sites: Sequence[Site], dtype: str) -> float | None:
    """Numbers that a token keeps for the backward pass beside adapters of rank 1; None where it cannot be followed.

    With two lengths what grows with their square is told apart: torch's attention has kernels that do not keep it. Of
    experts without weights torch has products in bfloat16 alone.
    """
    read_no_texts()
    bank = LoraBank(shell, sites, 1, 1, torch.float32, "meta")
    is_squared = shell.config.get_text_config()._attn_implementation == "eager"
    for run in (torch.float32, torch.bfloat16) if dtype == "float32" else (torch.bfloat16,):
        shell.to(run)  # type: ignore[arg-type]  # behind a decorator that hides its arguments
        shell.eval()  # type: ignore[no-untyped-call]
        shell.requires_grad_(False)
        bank.to(run).requires_grad_()
        per = None if dtype == "float32" else PER_NUMBER_OF_HALF
        try:
            once = _saved(shell, bank, TOKENS, per) / TOKENS
            return once if is_squared else 2 * once - _saved(shell, bank, 2 * TOKENS, per) / (2 * TOKENS)
        except Exception:  # noqa: BLE001 - some code asks for numbers
            continue
    return None


def _saved(shell: torch.nn.Module, bank: LoraBank, tokens: int, per: float | None) -> float:
    """How many numbers a backward pass needs of a text; by their bytes where so many are `per` number."""
    known = {one.untyped_storage()._cdata for one in (*shell.parameters(), *shell.buffers(), *bank.parameters())}
    kept: dict[int, torch.Tensor] = {}  # by their storages, which live as long as these

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    ids_BT = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    with bank.rows([0]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = shell(input_ids=ids_BT, use_cache=False).logits
    own = [one for storage, one in kept.items() if storage not in known]
    del logits
    return sum(one.untyped_storage().nbytes() / (per or one.itemsize) for one in own)
