"""Kinds of tuning: what a recipe makes of a base model, as one value that planning and training ask.

Invariant: nobody outside this folder tells one kind from another, but for the checks of its keys. A kind is made from a
recipe alone and is light: only the methods that handle weights import torch, so that a plan asks the others for
nothing. What the config and the report must know of a kind stands beside its keys (`study.config.Recipe`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from adapters.kinds.dora import DoraKind
from adapters.kinds.held import Held
from adapters.kinds.ia3 import Ia3Kind
from adapters.kinds.lora import LoraKind
from adapters.kinds.prefix_tuning import PrefixKind
from adapters.kinds.prompt_tuning import PromptKind
from adapters.kinds.whole import WholeKind
from study.config import Ia3, PrefixTuning, PromptTuning, Recipe
from study.models.resolve import Model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adapters.bank.dropout import Dropout


class Sheet(Protocol):
    """A base whose members' trainable weights are the rows of a sheet [K, P].

    Weight decay applies to the first `decayed` numbers of a row. It is a torch module, and holds the base as a part of
    it where the base's own weights take part in training as they are.
    """

    @property
    def parts(self) -> Sequence[torch.nn.Parameter]:
        """The sheet: one parameter [K, P], or where K is 1 several of any shape, whose numbers follow each other."""
        ...

    @property
    def model(self) -> PreTrainedModel:
        """What computes: its output head gives what is predicted. Vectors that stand before a text come out first."""
        ...

    @property
    def slots(self) -> int: ...

    @property
    def decayed(self) -> int: ...

    @property
    def pace(self) -> torch.Tensor | None:
        """By what the learning rate of each number of a row is larger than the recipe's [P]; None where none is."""
        ...

    def logits(
        self, inputs: Mapping[str, object], slots: Sequence[int | None], dropout: Dropout | None
    ) -> torch.Tensor:
        """What the base gives for `inputs`, row i of the batch with the weights of member `slots[i]`, or by itself.

        The latter, where it is None, as the former are adapters.
        """
        ...

    def squared_norms(self) -> torch.Tensor:
        """‖ΔW‖² of each member's adapter [K], with a gradient."""
        ...

    def copies(self, slot: int, parts: Sequence[torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """A member's weights on the CPU, by their names in its files; of these in place of `parts` where given."""
        ...

    def begin(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put the weights of another adapter of this kind into a member's row, by their names in its files."""
        ...

    def recompute(self) -> None:
        """Have the base's layers computed again in backward passes. Raises ConfigError where that cannot be."""
        ...

    def detach(self) -> None:
        """Take everything off the base: it is again what it was."""
        ...


class Kind(Protocol):
    """One way to tune a base."""

    @property
    def shares_base(self) -> bool:
        """Whether a gang shares one copy of the base."""
        ...

    @property
    def spreads_base(self) -> bool:
        """Whether ZeRO 3 may spread the base."""
        ...

    @property
    def dropout(self) -> float:
        """Probability of dropout in what is trained. A base's own is always off."""
        ...

    @property
    def virtual_tokens(self) -> int:
        """How many vectors that are no tokens go through the base before each text."""
        ...

    @property
    def train_flops(self) -> int:
        """FLOPs of training per token and parameter of the base."""
        ...

    def member(self, model: Model) -> Held | None:
        """What one more member of a gang holds; None where one is trained at a time."""
        ...

    @property
    def remark(self) -> str | None:
        """What a plan tells of how it is trained, where that is not as one might think."""
        ...

    def check_plan(self, model: Model, longest: int) -> None:
        """Raise ConfigError where a base cannot be tuned so, as far as that shows without its weights.

        `longest` is how many tokens a text that is learned may have.
        """
        ...

    def check(self, base: PreTrainedModel, model: Model) -> None:
        """Raise ConfigError where files of an adapter of this base would not load as they were trained."""
        ...

    def left_out(self, base: PreTrainedModel) -> tuple[str, ...]:
        """Names of what the recipe asks to train and this base does not let be trained, by their last parts."""
        ...

    def is_as_begun(self, base: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> bool:
        """Whether these `Sheet.copies` make of the base what it was before training.

        Where it is spread every process has to ask.
        """
        ...

    def sheet(self, base: PreTrainedModel, members: Sequence[tuple[str, int]], device: torch.device) -> Sheet:
        """The base with fresh weights for an adapter per (adapter_id, seed)."""
        ...

    def write(self, folder: Path, base: PreTrainedModel, model: Model, weights: Mapping[str, torch.Tensor]) -> None:
        """Write the files of an adapter with these `Sheet.copies`; no path of this machine is in them."""
        ...


def kind_of(recipe: Recipe) -> Kind:
    """The kind of tuning that a recipe asks for."""
    if recipe.kind == "ia3":
        return Ia3Kind(recipe.ia3 or Ia3())
    if recipe.kind == "prompt_tuning":
        return PromptKind(recipe.prompt_tuning or PromptTuning())
    if recipe.kind == "prefix_tuning":
        return PrefixKind(recipe.prefix_tuning or PrefixTuning())
    if recipe.lora is None:
        return WholeKind()
    return DoraKind(recipe.lora) if recipe.kind == "dora" else LoraKind(recipe.lora)
