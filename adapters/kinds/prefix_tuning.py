"""Prefix tuning: trained keys and values before those of each text (Li and Liang 2021). Light, as kinds are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from adapters.kinds.by_peft import PeftKind
from study.config import PrefixTuning

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class PrefixKind(PeftKind):
    """Prefix tuning by the config's keys. Its vectors go through attention alone, so they count as no tokens."""

    name: ClassVar[str] = "prefix_tuning"
    stated: PrefixTuning

    @property
    def positions(self) -> int:
        return self.stated.num_virtual_tokens

    def config(self, base: PreTrainedModel) -> PeftConfig:
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(num_virtual_tokens=self.stated.num_virtual_tokens, task_type="CAUSAL_LM")

    def begin(self, weight: torch.Tensor, base: PreTrainedModel, draw: torch.Generator) -> torch.Tensor:
        import torch

        random = self.stated.init == "random"
        return torch.randn(weight.shape, generator=draw) if random else torch.zeros(weight.shape)

    def is_as_begun(self, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> bool:
        """A text with keys before its own is read otherwise, whatever they are."""
        return False
