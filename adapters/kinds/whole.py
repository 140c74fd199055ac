"""Full fine-tuning: all weights of a base. Light, as kinds are; `whole_weights` handles the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import ConfigError
from study.flops import WHOLE_TRAINING
from study.models.resolve import Model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adapters.kinds.whole_weights import WholeSheet


@dataclass(frozen=True)
class WholeKind:
    """Full fine-tuning: a gang of one, since each member needs all of a model, and no dropout."""

    shares_base: bool = False
    spreads_base: bool = True
    dropout: float = 0.0
    virtual_tokens: int = 0
    remark: str | None = None
    train_flops: int = WHOLE_TRAINING

    def member(self, model: Model) -> None:
        """One is trained at a time."""

    def check_plan(self, model: Model, longest: int) -> None:
        if model.quantization is not None:
            problem = f"trains all weights, and those of {model.name} are quantised ({model.quantization})"
            fix = "set recipe.lora, or take the model as it was before"
            raise ConfigError("recipe.lora", None, problem, fix)

    def check(self, base: PreTrainedModel, model: Model) -> None:
        """Does nothing: a whole model is written and read by transformers, and its weights are compared by name."""

    def left_out(self, base: PreTrainedModel) -> tuple[str, ...]:
        return ()

    def is_as_begun(self, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> bool:
        from adapters.base.spread import whole

        own = dict(base.named_parameters())
        for name, weight in weights.items():
            with whole([own[name]]):
                if not bool((weight == own[name].to("cpu", weight.dtype)).all()):
                    return False
        return True

    def sheet(self, base: PreTrainedModel, members: Sequence[tuple[str, int]], device: torch.device) -> WholeSheet:
        from adapters.kinds.whole_weights import WholeSheet

        assert len(members) == 1, "all weights of a base are one member's"
        return WholeSheet(base)

    def write(self, folder: Path, base: PreTrainedModel, model: Model, weights: Mapping[str, torch.Tensor]) -> None:
        from adapters.kinds.whole_weights import write

        write(folder, base, weights)
