"""LoRA itself: the bank of adapters, PEFT reading and writing, initial weights, arithmetic."""

from adapters.quantising import bitsandbytes

bitsandbytes.hide()  # before the first import of PEFT
