"""What models cost and devices can do: operations per weight and token, peaks by data sheets.

A forward pass takes 2 operations per weight and token (Kaplan et al. 2020, eq. 2.2, without the attention term), the
gradient of the activations as many again, that of the weights too.
"""

from __future__ import annotations

import re

FORWARD = 2
LORA_TRAINING = 4  # the base is frozen: no gradient of its weights
WHOLE_TRAINING = 6

UTILISATION = 0.4  # of the peak, in training and in scoring: assumed
UTILISATIONS = (0.2, 0.6)  # between which it is assumed to be
PEAK_FLOPS = {  # per second, dense bf16 (T4, V100: fp16); CPU: a core with AVX2 at 3 GHz in float32
    "B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12,
    "V100": 125e12, "T4": 65e12, "CPU": 96e9,
}  # fmt: skip


def peak_of(device: str) -> float | None:
    """Find the peak of a GPU by the name that its driver gives it; None for one that is not known."""
    known = (flops for name, flops in PEAK_FLOPS.items() if re.search(rf"\b{name}\b", device))
    return next(known, None)
