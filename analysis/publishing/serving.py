"""Whether vLLM and LoRAX load an adapter as it is, from its PEFT configuration.

vLLM 0.32 (`vllm/lora/peft_helper.py`) takes ranks and alphas of single modules, and refuses DoRA, biases and whole
modules. LoRAX (`lorax_server/adapters/lora.py` at 03679f3) reads one r and alpha, stacks a module's matrices over the
layers, and pads ranks to 8 or to multiples of 16: a padded rank is then its r, and scales the modules that come next.
"""

from __future__ import annotations

from collections.abc import Mapping

VLLM_RANK = 16  # its --max-lora-rank unless one is given
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that it can be given


def by_vllm(config: Mapping[str, object]) -> str | None:
    """Why vLLM does not load it; None where it does."""
    if config.get("peft_type") != "LORA":
        return f"it is no LoRA but {config.get('peft_type') or 'a whole model'}"
    if config.get("use_dora"):
        return "it is DoRA"
    if config.get("modules_to_save"):
        return "it has whole modules beside its matrices (modules_to_save)"
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        return "it trains biases"
    rank = _largest(config)
    return None if 1 <= rank <= RANKS[-1] else f"its rank, {rank}, is above {RANKS[-1]}"


def by_lorax(config: Mapping[str, object]) -> str | None:
    """Why LoRAX does not load it, or not as it is; None where it does."""
    if why := by_vllm(config):
        return why
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        return "its modules have ranks or alphas of their own"
    rank = _largest(config)
    if rank != 8 and rank % 16:
        return f"it pads its rank, {rank}, to another, by which it then scales"
    return None


def rank_option(config: Mapping[str, object]) -> str:
    """What vLLM must be told of the rank; nothing where it takes it anyway."""
    rank = _largest(config)
    return "" if rank <= VLLM_RANK else f" --max-lora-rank {next(one for one in RANKS if one >= rank)}"


def _largest(config: Mapping[str, object]) -> int:
    """The largest rank of a module; 0 where that is no number."""
    own = config.get("rank_pattern")
    ranks = [config.get("r"), *(own.values() if isinstance(own, Mapping) else ())]
    return max(rank if isinstance(rank, int) else 0 for rank in ranks)
