"""LoRA: a gang's adapters on one frozen base. Light, as kinds are; `lora_weights` handles the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.kinds.held import Held, held
from study.config import Lora
from study.errors import ConfigError
from study.flops import LORA_TRAINING
from study.models.resolve import Model
from study.models.shapes import Linear

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adapters.kinds.lora_weights import LoraSheet


@dataclass(frozen=True)
class LoraKind:
    """LoRA by the config's keys."""

    lora: Lora
    shares_base: bool = True
    spreads_base: bool = True
    virtual_tokens: int = 0
    remark: str | None = None
    train_flops: int = LORA_TRAINING

    @property
    def dropout(self) -> float:
        return self.lora.dropout

    def adapted(self, model: Model) -> tuple[Linear, ...]:
        """What it stands beside, by the names in the base's files."""
        stated, linear = self.lora.modules, model.body.linear
        if isinstance(stated, str):
            return linear
        names = {name.rsplit(".", 1)[-1] for name in stated}
        return tuple(one for one in linear if one.name in names)

    def member(self, model: Model) -> Held:
        found = held(self.adapted(model), model.body.linear, self.lora.r, self.lora.dropout > 0)
        return replace(found, numbers=found.numbers + model.body.beyond)

    def check_plan(self, model: Model, longest: int) -> None:
        """Which modules are meant, and whether there are such, a plan asks for itself: not whether r has room in them.

        It needs room where an adapter begins with a part of them.
        """
        if self.lora.init != "default":
            if model.quantization is not None:
                problem = f"takes a part out of the base, and the weights of {model.name} are quantised"
                raise ConfigError("recipe.lora.init", self.lora.init, problem, "leave it out")
            from adapters.kinds.lora_check import check_plan

            check_plan(self.lora, model)

    def check(self, base: PreTrainedModel, model: Model) -> None:
        from adapters.kinds.lora_check import check

        check(base, self.lora, model)

    def left_out(self, base: PreTrainedModel) -> tuple[str, ...]:
        from adapters.folders.targeting import left_out

        return left_out(base) if self.lora.modules == "all-linear" else ()

    def is_as_begun(self, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> bool:
        """B starts as zeros, and as long as it is, A does nothing; or A and B are still those that are taken out."""
        if self.lora.init == "default":
            return not any(matrix.any() for name, matrix in weights.items() if ".lora_B." in name)
        from adapters.kinds.decomposed import is_as_begun

        return is_as_begun(weights)

    def sheet(self, base: PreTrainedModel, members: Sequence[tuple[str, int]], device: torch.device) -> LoraSheet:
        from adapters.kinds.lora_weights import LoraSheet

        return LoraSheet(base, self.lora, members, device, is_scaled=False)

    def write(self, folder: Path, base: PreTrainedModel, model: Model, weights: Mapping[str, torch.Tensor]) -> None:
        from adapters.kinds.lora_weights import write

        write(folder, self.lora, base, model, weights)
