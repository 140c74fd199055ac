"""IA3: a trained factor for each output, or input, of some modules (Liu et al. 2022). Light, as kinds are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from adapters.kinds.by_peft import PeftKind
from study.config import Ia3

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Ia3Kind(PeftKind):
    """IA3 by the config's keys."""

    name: ClassVar[str] = "ia3"
    fix: ClassVar[str] = "set recipe.ia3 {modules: all-linear, feedforward: []}, say, or take another kind of tuning"
    stated: Ia3

    def config(self, base: PreTrainedModel) -> PeftConfig:
        from peft import IA3Config

        modules = self.stated.modules
        return IA3Config(
            target_modules=modules if modules is None or isinstance(modules, str) else list(modules),
            feedforward_modules=None if self.stated.feedforward is None else list(self.stated.feedforward),
            task_type="CAUSAL_LM",
        )

    def begin(self, weight: torch.Tensor, base: PreTrainedModel, draw: torch.Generator) -> torch.Tensor:
        import torch

        return torch.ones(weight.shape)

    def is_as_begun(self, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> bool:
        """Factors of one change nothing."""
        return all(bool((factors == 1).all()) for factors in weights.values())
