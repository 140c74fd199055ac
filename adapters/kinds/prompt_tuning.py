"""Prompt tuning: trained vectors before each text (Lester et al. 2021). Light, as kinds are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from adapters.kinds.by_peft import PeftKind
from study.config import PromptTuning

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class PromptKind(PeftKind):
    """Prompt tuning by the config's keys. Its vectors go through the base as tokens do."""

    name: ClassVar[str] = "prompt_tuning"
    stated: PromptTuning

    @property
    def virtual_tokens(self) -> int:
        return self.stated.num_virtual_tokens

    @property
    def positions(self) -> int:
        return self.stated.num_virtual_tokens

    def config(self, base: PreTrainedModel) -> PeftConfig:
        from peft import PromptTuningConfig

        return PromptTuningConfig(num_virtual_tokens=self.stated.num_virtual_tokens, task_type="CAUSAL_LM")

    def begin(self, weight: torch.Tensor, base: PreTrainedModel, draw: torch.Generator) -> torch.Tensor:
        import torch

        if self.stated.init == "random":
            return torch.randn(weight.shape, generator=draw)
        known = base.get_input_embeddings().get_parameter("weight").detach()
        drawn = torch.randint(len(known), (len(weight),), generator=draw)
        return known[drawn.to(known.device)].to("cpu", torch.float32)

    def is_as_begun(self, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> bool:
        """A text with vectors before it is another text than without, whatever they are."""
        return False
