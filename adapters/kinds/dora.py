"""DoRA: LoRA that trains the length of each row of a matrix too. Light, as kinds are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.kinds.held import Held
from adapters.kinds.lora import LoraKind
from study.errors import ConfigError
from study.models.resolve import Model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adapters.kinds.lora_weights import LoraSheet


@dataclass(frozen=True)
class DoraKind(LoraKind):
    """By LoRA's keys of the config; a gang shares the base as with LoRA."""

    def member(self, model: Model) -> Held:
        """With the lengths of rows, and what the modules gave out before these were changed."""
        found, given = super().member(model), sum(one.given for one in self.adapted(model))
        return Held(found.weights + given, found.numbers + given)

    def check_plan(self, model: Model, longest: int) -> None:
        super().check_plan(model, longest)
        if model.quantization == "int8":
            problem = f"PEFT does not compute it beside the int8 weights of {model.name} on every device"
            raise ConfigError("recipe.kind", "dora", problem, "use nf4, or kind lora")

    def check(self, base: PreTrainedModel, model: Model) -> None:
        from adapters.kinds.lora_check import check

        check(base, self.lora, model, is_scaled=True)

    def sheet(self, base: PreTrainedModel, members: Sequence[tuple[str, int]], device: torch.device) -> LoraSheet:
        from adapters.kinds.lora_weights import LoraSheet

        return LoraSheet(base, self.lora, members, device, is_scaled=True)
