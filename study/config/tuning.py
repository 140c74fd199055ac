"""The keys of each kind of tuning, by PEFT's names of kinds: a part of the recipe. Only those of its kind count."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictStr

from study.config.fields import Frozen, Number, PositiveInt

KindName = Literal["lora", "dora", "ia3", "prompt_tuning", "prefix_tuning"]


_BY_START = {"default": "LoRA", "pissa": "PiSSA", "olora": "OLoRA"}
_NAMES = {"dora": "DoRA", "ia3": "IA3", "prompt_tuning": "prompt tuning", "prefix_tuning": "prefix tuning"}


class Lora(Frozen):
    """LoRA's keys, and DoRA's. `init: pissa | olora` begin with a part of the base, which is taken out of it meanwhile.

    `lr_ratio` is LoRA+: by what the learning rate of B is larger than that of A.
    """

    r: PositiveInt = 32
    alpha: Annotated[Number, Field(gt=0)] = 64
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    modules: Literal["all-linear"] | Annotated[tuple[StrictStr, ...], Field(min_length=1)] = "all-linear"
    rslora: StrictBool = False
    start: Literal["own", "shared"] = "own"  # shared: all adapters of a model and seed start with equal matrices A
    init: Literal["default", "pissa", "olora"] = "default"
    lr_ratio: Annotated[Number, Field(gt=0)] | None = None


class Ia3(Frozen):
    """IA3's keys; null is what PEFT's own table names for a type of model. `feedforward` are some of `modules`."""

    modules: Literal["all-linear"] | Annotated[tuple[StrictStr, ...], Field(min_length=1)] | None = None
    feedforward: tuple[StrictStr, ...] | None = None


class PromptTuning(Frozen):
    """Vectors that stand before each text: drawn from N(0, 1), or those of tokens that are drawn."""

    num_virtual_tokens: PositiveInt = 20
    init: Literal["random", "sample_vocab"] = "random"


class PrefixTuning(Frozen):
    """Keys and values that stand before those of each text, in every layer: drawn from N(0, 1), or zeros."""

    num_virtual_tokens: PositiveInt = 20
    init: Literal["random", "zero"] = "random"


def named(kind: str, lora: Lora | None) -> str:
    """A kind of tuning by its name."""
    if kind == "lora":
        return "full fine-tuning" if lora is None else _BY_START[lora.init]
    return _NAMES[kind]


def words(kind: str, lora: Lora | None, prompt: PromptTuning | None, prefix: PrefixTuning | None) -> str:
    """A kind of tuning in words."""
    name = named(kind, lora)
    if kind == "prompt_tuning":
        return f"{name}, {(prompt or PromptTuning()).num_virtual_tokens} virtual tokens"
    if kind == "prefix_tuning":
        return f"{name}, {(prefix or PrefixTuning()).num_virtual_tokens} virtual tokens"
    if kind == "ia3" or lora is None:
        return name
    faster = "" if lora.lr_ratio is None else f", B at {lora.lr_ratio:g} times the rate (LoRA+)"
    return f"{name}, r {lora.r}, alpha {lora.alpha:g}{faster}"
