"""Whether vLLM and LoRAX load an adapter as it is, from its PEFT configuration.

vLLM's checks (`vllm/lora/peft_helper.py`): r, lora_alpha and target_modules are needed, modules_to_save and DoRA are
refused, and it reads one rank and one alpha for all modules. LoRAX (`adapters/lora.py`) reads the same of PEFT's own
LoraConfig, scales by alpha / r or alpha / √r, and takes A and B of a module by PEFT's names.
"""

from __future__ import annotations

from collections.abc import Mapping

VLLM_RANK = 16  # its --max-lora-rank unless one is given
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that it can be given


def refused(config: Mapping[str, object]) -> str | None:
    """Why they do not load it; None where they do."""
    if config.get("peft_type") != "LORA":
        return f"it is no LoRA but {config.get('peft_type') or 'a whole model'}"
    if config.get("use_dora"):
        return "they have no DoRA"
    if config.get("modules_to_save"):
        return "it has whole modules beside its matrices (modules_to_save)"
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        return "it trains biases"
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        return "its modules have ranks or alphas of their own"
    rank = config.get("r")
    if not isinstance(rank, int) or not 1 <= rank <= RANKS[-1]:
        return f"its rank, {rank}, is above {RANKS[-1]}"
    return None


def rank_option(config: Mapping[str, object]) -> str:
    """What vLLM must be told of the rank; nothing where it takes it anyway."""
    rank = config["r"]
    assert isinstance(rank, int)
    return "" if rank <= VLLM_RANK else f" --max-lora-rank {next(one for one in RANKS if one >= rank)}"
