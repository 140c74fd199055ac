"""What kinds have in common that PEFT's own modules train: a gang of one, whose base stays what it is.

Such a kind says how PEFT is configured, and with which numbers an adapter begins. Light, as kinds are; `peft_weights`
handles the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from study.flops import LORA_TRAINING
from study.models.resolve import Model

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel

    from adapters.kinds.peft_weights import PeftSheet


@dataclass(frozen=True)
class PeftKind:
    """One of PEFT's. `name` is what the config calls it."""

    name: ClassVar[str]
    fix: ClassVar[str] = "take another kind of tuning, or another model"
    shares_base: ClassVar[bool] = False
    spreads_base: ClassVar[bool] = False
    dropout: ClassVar[float] = 0.0
    train_flops: ClassVar[int] = LORA_TRAINING

    @property
    def remark(self) -> str | None:
        return f"{self.name}: PEFT's own modules train it, one adapter at a time on a base of its own (no gangs)"

    @property
    def virtual_tokens(self) -> int:
        return 0

    @property
    def positions(self) -> int:
        """How many of a base's positions are taken before each text."""
        return 0

    def member(self, model: Model) -> None:
        """One is trained at a time."""

    def config(self, base: PreTrainedModel) -> PeftConfig:
        """PEFT's configuration. Raises ConfigError."""
        raise NotImplementedError

    def begin(self, weight: torch.Tensor, base: PreTrainedModel, draw: torch.Generator) -> torch.Tensor:
        """What a weight of this shape is before training, float32 on the CPU."""
        raise NotImplementedError

    def is_as_begun(self, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> bool:
        raise NotImplementedError

    def check_plan(self, model: Model, longest: int) -> None:
        from adapters.kinds.peft_weights import check_plan

        check_plan(self, model, longest)

    def check(self, base: PreTrainedModel, model: Model) -> None:
        from adapters.kinds.peft_weights import check

        check(self, base, model)

    def left_out(self, base: PreTrainedModel) -> tuple[str, ...]:
        return ()

    def sheet(self, base: PreTrainedModel, members: Sequence[tuple[str, int]], device: torch.device) -> PeftSheet:
        from adapters.kinds.peft_weights import PeftSheet

        (member,) = members
        return PeftSheet(base, self, member, device)

    def write(self, folder: Path, base: PreTrainedModel, model: Model, weights: Mapping[str, torch.Tensor]) -> None:
        from adapters.kinds.peft_weights import write

        write(folder, self, base, model, weights)
