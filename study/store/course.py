"""How the training of an adapter went: what a trainer tells, and record.json keeps.

What older releases did not record has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """An epoch of training; `validation_loss` is None without anything to validate on.

    `steps` and `tokens` are those until its end; None where an older release did not write them.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    steps: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Examples:
    """How many examples were learned from, and validated on."""

    train: int
    validation: int


@dataclass(frozen=True)
class Tokens:
    """Tokens trained on: an adapter's own, and those that went through the model with the padding.

    They are those of examples; `near` are those of the prompts that it was kept near the base on (`keep_near_base.kl`),
    None where an older release did not count them.
    """

    useful: int
    padded: int
    near: int | None = None

    @property
    def read(self) -> int:
        """All that it learned by, as far as it was counted."""
        return self.useful + (self.near or 0)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How the training of one adapter went. `seconds` are its share of its gang's; `kept` says which epoch counts.

    `learned_nothing`: its weights make of the base what that was before.
    """

    examples: Examples
    tokens: Tokens
    seconds: float
    epochs: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    kept: str = ""
    steps: int = 0
    truncated: int = 0
    learned_nothing: bool = False

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights were kept."""
        return self.epochs[self.best_epoch - 1] if self.epochs else None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under what conditions a gang was trained: all its members state the same.

    `left_out` names modules of the base that the recipe asks to train and that were not, by the last parts of names.
    """

    device: str
    world_size: int
    dtype: str = ""
    zero_stage: int = 0
    gang_size: int = 1
    micro_batch_size: int = 0
    micro_batch_tokens: int = 0
    packing: bool = False
    resumed_at_steps: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """An adapter's source that has a name: what it was trained on from is called and is, None where it began afresh.

    `before` are the cells that were learned by then, as far as they are known; `change` says how its data are others
    than its cells' own.
    """

    name: str
    start: str | None = None
    start_id: str | None = None
    before: tuple[str, ...] = ()
    change: str | None = None
