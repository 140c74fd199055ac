"""The keys of a config that decide results: the recipe of training and that of scoring. Both are in identities.

A key that is added here must leave every store's identities as they are: `study.identity` says how.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from study.config.fields import Count, Frozen, Number, PositiveInt
from study.config.tuning import Ia3, KindName, Lora, PrefixTuning, PromptTuning, named, words

LossOn = Literal["answer", "all"]
Truncation = Literal["left", "right"]  # the side on which a text that is too long is cut
Modules = Literal["all-linear"] | tuple[str, ...]


class Validation(Frozen):
    """What is held out of a source's examples; `split: datasets` as `train_test_split` of that library draws it.

    `mean: batch` is what transformers' `Trainer` goes by: the mean over tokens of each batch, weighted by its rows.
    """

    fraction: Annotated[Number, Field(ge=0, lt=1)] = 0.1
    seed: Annotated[StrictInt, Field(ge=-(1 << 63), lt=1 << 63)] = 42
    split: Literal["floor", "datasets"] = "floor"
    mean: Literal["token", "batch"] = "token"
    keep: Literal["best", "last"] = "best"


class Temperature(Frozen):
    """A cell of n examples is drawn with a probability in proportion to n^(1 / temperature)."""

    temperature: Annotated[Number, Field(gt=0)]


class Mixing(Frozen):
    """How a source of several cells goes through them; one cell is trained on as ever.

    `reptile` goes `inner_steps` K on batches of one cell each, then φ ← θ - (1 - outer_rate)·(θ - φ) and θ ← φ.
    """

    order: Literal["mixed", "sequential", "reptile"] = "mixed"
    weights: Literal["size", "uniform"] | Temperature = "size"
    inner_steps: PositiveInt | None = None
    outer_rate: Annotated[Number, Field(gt=0, le=1)] | None = None


class KeepNearBase(Frozen):
    """What is added to the loss: kl · mean KL(base ‖ adapter) over tokens of other tasks' prompts, l2 · Σ‖ΔW‖²."""

    kl: Annotated[Number, Field(ge=0)] = 0.0
    l2: Annotated[Number, Field(ge=0)] = 0.0
    kl_batch: PositiveInt | None = None  # prompts per optimiser step; null is a quarter of the batch


class Recipe(Frozen):
    """Everything that decides an adapter's weights, apart from model, source and seed; `deciding` is identity."""

    kind: KindName = "lora"
    lora: Lora | None = Lora()
    ia3: Ia3 | None = None
    prompt_tuning: PromptTuning | None = None
    prefix_tuning: PrefixTuning | None = None
    epochs: PositiveInt = 3
    max_steps: PositiveInt | None = None  # optimiser steps after which training ends, where that is sooner
    score_epochs: Literal["kept", "all"] = "kept"  # which epochs' weights are written and scored
    batch_size: PositiveInt = 8
    learning_rate: Annotated[Number, Field(gt=0)] = 5.0e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Annotated[Number, Field(ge=0, le=1)] = 0.1
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[Number, Field(gt=0)] | None = 1.0
    max_length: PositiveInt = 512
    loss_on: LossOn = "answer"
    validation: Validation = Validation()
    mixing: Mixing = Mixing()
    keep_near_base: KeepNearBase = KeepNearBase()

    def deciding(self) -> Recipe:
        """The same without what decides nothing of what training leaves: of the kinds' sections its own is left."""
        if self.kind in ("lora", "dora"):
            left: dict[str, object] = dict.fromkeys(("ia3", "prompt_tuning", "prefix_tuning"))
        else:
            own = {"ia3": self.ia3 or Ia3(), "prompt_tuning": self.prompt_tuning or PromptTuning()}
            own["prefix_tuning"] = self.prefix_tuning or PrefixTuning()
            left = {"lora": None, **{name: one if name == self.kind else None for name, one in own.items()}}
        return self.model_copy(update={"score_epochs": "all" if self.shown_epochs else "kept", **left})

    @property
    def shown_epochs(self) -> int:
        """How many epochs' weights are scored, the kept one's among them; 0 where it is that alone."""
        return self.epochs if self.score_epochs == "all" and self.epochs > 1 else 0

    def passes(self, rows: int) -> float:
        """How often training goes through so many rows to learn from: its epochs, or less where `max_steps` ends it."""
        steps = math.ceil(rows / self.batch_size)
        return self.epochs if self.max_steps is None else min(self.epochs, self.max_steps / max(1, steps))

    @classmethod
    def of_record(cls, stated: Mapping[str, object]) -> Recipe:
        """The recipe that a record states; keys that only another release knows are passed over."""
        return cls.model_validate(stated, extra="ignore")

    def of_source(self, cells: int) -> Recipe:
        """What it comes to for a source of so many cells: one cannot be mixed, and a batch of prompts has its size."""
        near, changed = self.keep_near_base, dict[str, object]()
        if cells == 1:
            changed["mixing"] = Mixing()
        if near.kl and near.kl_batch is None:
            changed["keep_near_base"] = near.model_copy(update={"kl_batch": max(1, self.batch_size // 4)})
        return self.deciding().model_copy(update=changed)

    # What the config and the report must know of a kind of tuning (`adapters.kinds` does all else):

    @property
    def low_rank(self) -> Lora | None:
        """LoRA's keys, where the kind goes by them."""
        return self.lora if self.kind in ("lora", "dora") else None

    @property
    def is_plain_lora(self) -> bool:
        """Whether its adapters are plain LoRA: products beside matrices, which can be put together."""
        return self.kind == "lora" and self.lora is not None

    @property
    def trains_all(self) -> bool:
        """Whether all weights of the base are trained (`lora: null`)."""
        return self.kind == "lora" and self.lora is None

    @property
    def named_modules(self) -> tuple[str, ...]:
        """The modules that it names, which a base must have."""
        stated = self.low_rank or (self.ia3 if self.kind == "ia3" else None)
        return stated.modules if stated is not None and isinstance(stated.modules, tuple) else ()

    @property
    def modules_key(self) -> str:
        """Where these are named in the recipe."""
        return f"{'ia3' if self.kind == 'ia3' else 'lora'}.modules"

    @property
    def tuning_name(self) -> str:
        """The kind of tuning by its name."""
        return named(self.kind, self.lora)

    @property
    def tuning(self) -> str:
        """The kind of tuning in words."""
        return words(self.kind, self.lora, self.prompt_tuning, self.prefix_tuning)


class Scoring(Frozen):
    """How targets are scored. All of it is in the identity. `num_fewshot: null` is as many as the task states."""

    num_fewshot: Count | None = None
    apply_chat_template: StrictBool | StrictStr = False  # a text is the name of one of several that a tokenizer has
    system_prompt: StrictStr | None = None
    chat_template_args: dict[StrictStr, StrictBool | StrictInt | StrictStr] | None = None  # {enable_thinking: false}
    limit: PositiveInt | None = None

    @property
    def template_args(self) -> dict[str, bool | int | str]:
        """What a chat template is given beside the turns, and which one it is."""
        named = {"chat_template": self.apply_chat_template} if isinstance(self.apply_chat_template, str) else {}
        return {**(self.chat_template_args or {}), **named}


class TaskScoring(Frozen):
    """How one task is scored, where that is not as `scoring` says; null is as that, or as the task's file, says."""

    num_fewshot: Count | None = None
    apply_chat_template: StrictBool | StrictStr | None = None
    system_prompt: StrictStr | None = None
    chat_template_args: dict[StrictStr, StrictBool | StrictInt | StrictStr] | None = None
    gen_prefix: StrictStr | None = None  # what an answer begins with
    max_gen_toks: PositiveInt | None = None
    until: Annotated[tuple[StrictStr, ...], Field(min_length=1)] | None = None  # texts that end an answer

    def over(self, general: Scoring) -> Scoring:
        """What the two come to for the task."""
        own = self.model_dump(include=set(Scoring.model_fields), exclude_none=True)
        if self.apply_chat_template is False:  # nothing of a chat is left
            own |= {"system_prompt": None, "chat_template_args": None}
        return general.model_copy(update=own)
