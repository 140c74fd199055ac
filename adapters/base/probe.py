"""What a model says of a few tokens drawn from a seed: by that it is known whether it may be read as we read it.

Earlier logits must not know of later tokens, nor a row's logits of the rows beside it; and two ways to compute the same
adapter must say the same. A list of architectures or kinds would be out of date; the model itself is not.

Shapes: B rows of T tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel

from adapters.quantising.weights import rounds_inputs

ROWS, TOKENS = 3, 24
TOLERANCE = {4: 1e-3, 2: 0.25}  # nats that a logit may move for rounding, by the bytes of a number


@dataclass(frozen=True)
class Probe:
    """How far (nats) later tokens move earlier logits, and other rows those of a row beside them."""

    later: float
    others: float
    tolerance: float

    @property
    def rounds(self) -> bool:
        """Whether what is no part of a text moves its logits at all: by rounding, where experts get their tokens."""
        return self.later > 0 or self.others > 0

    @property
    def trouble(self) -> str | None:
        """Why what the model says of a text cannot be read off a batch, in words; None where it can."""
        if self.others > self.tolerance:
            return f"other texts of a batch move logits by {self.others:.2g} nats"
        return None if self.later <= self.tolerance else f"later tokens move earlier logits by {self.later:.2g} nats"


@dataclass(frozen=True)
class Agreement:
    """How far (nats) one way to compute an adapter is from another, and that other from the base alone.

    In half precision a typical token of the worst row counts, not the worst: a router's choice may hang on rounding.
    """

    off: float
    effect: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.off <= self.allowed

    @property
    def tells(self) -> bool:
        """Whether the adapter does enough for a difference to show."""
        return self.effect > 4 * self.allowed


def precision(model: Any) -> int:
    """Bytes of the numbers that a model computes with; what is rounded to 8 bits on its way counts as two."""
    return 2 if rounds_inputs(model) else int(model.dtype.itemsize)


def tokens_of(base: Any) -> torch.Tensor:
    """Token ids [B, T] on the base's device, the same for every base of its vocabulary."""
    vocabulary = int(base.get_input_embeddings().weight.shape[0])
    drawn_BT = torch.randint(vocabulary, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    return drawn_BT.to(base.device)


@torch.no_grad()  # what a model keeps of it may be used in training
def said(model: Any, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [B, T, V] of what comes after each token, in float32."""
    logits = model(input_ids=tokens_BT, use_cache=has_prompt(model)).logits[:, -tokens_BT.shape[1] :]
    return torch.log_softmax(logits.float(), -1)


def has_prompt(model: Any) -> bool:
    """Whether PEFT puts vectors before each text: they come first in what it computes, or lie in its cache."""
    return isinstance(model, PeftModel)


def probe(model: Any, tokens_BT: torch.Tensor | None = None, first_BTV: torch.Tensor | None = None) -> Probe:
    """Run a model twice, or once where what it `said` of the tokens is given. Raises what it raises.

    The second time the first row is as before, beside another one; of the last row the later half is other tokens.
    """
    tokens_BT = tokens_of(model) if tokens_BT is None else tokens_BT
    first_BTV = said(model, tokens_BT) if first_BTV is None else first_BTV
    other_BT, second_BT = tokens_BT.roll(1, 1).flip(1), tokens_BT.clone()
    second_BT[1:-1] = other_BT[1:-1]
    second_BT[-1, TOKENS // 2 :] = other_BT[-1, TOKENS // 2 :]
    apart_BT = apart(said(model, second_BT), first_BTV)
    later, others = float(apart_BT[-1, : TOKENS // 2].max()), float(apart_BT[0].max())
    return Probe(later, others, TOLERANCE.get(precision(model), 1e-3))


def agreement(ours: torch.Tensor, theirs: torch.Tensor, alone: torch.Tensor, itemsize: int) -> Agreement:
    """Compare what two ways to compute an adapter say, and the base `alone`, which has this `precision`."""
    off_BT, effect_BT = apart(ours, theirs), apart(theirs, alone)
    if itemsize == 4:
        off, effect, share = float(off_BT.max()), float(effect_BT.max()), 1e-3
    else:
        off, effect, share = float(off_BT.median(1).values.max()), float(effect_BT.median(1).values.max()), 0.1
    return Agreement(off, effect, TOLERANCE.get(itemsize, 1e-3) + share * effect)


def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The largest difference at each place [B, T]; what is equal, or in both no number, does not differ.

    Of two vocabularies the tokens count that both have.
    """
    both = min(one.shape[-1], other.shape[-1])
    one, other = one[..., :both], other[..., :both]
    same = (one == other) | (one.isnan() & other.isnan())
    return (one - other).abs().masked_fill(same, 0.0).amax(-1)
