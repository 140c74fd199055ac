"""Whether a model writes the same after a prompt that is filled up on the left as after that prompt alone.

One that does not honour the mask carries the padding in its state. A list would be out of date; the model is asked.
"""

from __future__ import annotations

from typing import Any

import torch

from adapters.base.probe import TOLERANCE, apart, precision

PROMPTS, STEPS = (12, 20), 3  # tokens of each prompt, and tokens that are written


@torch.inference_mode()
def pads_exactly(model: Any) -> bool:
    """Whether prompts may share a batch.

    In half precision a typical logit counts: of 100,000 some are rounded otherwise in a batch of another shape, by more
    than a quarter of a nat.
    """
    vocabulary, (short, longest) = int(model.get_input_embeddings().weight.shape[0]), PROMPTS
    drawn_BT = torch.randint(vocabulary, (len(PROMPTS), longest), generator=torch.Generator().manual_seed(0))
    tokens_BT = drawn_BT.to(model.device)
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[0, : longest - short] = 0
    together = _written(model, tokens_BT, mask_BT)
    alone = _written(model, tokens_BT[:1, longest - short :], mask_BT[:1, longest - short :])
    exact = precision(model) == 4
    off: list[float] = []
    for (ours_BV, ours_B), (theirs_BV, theirs_B) in zip(together, alone, strict=True):
        off.append(float(apart(ours_BV[0], theirs_BV[0]) if exact else _typically_apart(ours_BV[0], theirs_BV[0])))
        if ours_B[0] != theirs_B[0]:
            break  # from here on they read other texts
    return max(off) <= TOLERANCE.get(precision(model), 1e-3)


def _typically_apart(one_V: torch.Tensor, other_V: torch.Tensor) -> torch.Tensor:
    """The median difference; what is equal, as a masked token's, does not differ."""
    return (one_V - other_V).abs().masked_fill(one_V == other_V, 0.0).median()


def _written(model: Any, tokens_BT: torch.Tensor, mask_BT: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities [B, V] and the token that is taken [B], step by step."""
    found = model.generate(
        input_ids=tokens_BT,
        attention_mask=mask_BT,
        max_new_tokens=STEPS,
        do_sample=False,
        num_beams=1,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return [(logits_BV.float().log_softmax(-1), logits_BV.argmax(-1)) for logits_BV in found.logits]
