"""LoRA itself: the bank of adapters, PEFT reading and writing, initial weights, arithmetic."""
