"""Adapters that are put together of others: sums with weights, merges, layers of two, a choice among several."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictStr, field_validator, model_validator

from study.config.fields import Count, Frozen, Name, Number, PositiveInt, Template

Written = Literal[
    "sum", "svd", "adamergex", "layers", "ties", "dare", "dare_ties",
    "factors", "factors_b", "factors_peft", "factors_peft_ties", "arrow",
]  # fmt: skip
Protocol = Literal["source", "other_languages", "target"]
Role = Literal["task", "target", "reference"]
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_WEIGHT = re.compile(rf"(?:(?P<less>1-)|(?P<minus>-)?(?:(?P<times>{_NUMBER})\*)?)lambda")
_PARAMETERS = {  # of which methods a key is
    "rank": ("sum", "svd", "ties", "dare", "dare_ties", "adamergex", "layers"),
    "density": ("ties", "dare", "dare_ties", "factors_peft_ties"),
    "scale": ("ties", "dare_ties"),
    "draw": ("dare", "dare_ties"),
    "trim": ("ties",),
    "bottom": ("layers",),
    "top": ("layers",),
    "transition": ("layers",),
    "top_k": ("arrow",),
    "temperature": ("arrow",),
}
_NEEDED = {"svd": "rank", "ties": "density", "dare": "density", "dare_ties": "density", "factors_peft_ties": "density"}


class _Aliased(Frozen):
    """Written with words that Python keeps for itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class LambdaConfig(Frozen):
    """Values of lambda that are all tried, and on what the best of them is chosen."""

    grid: Annotated[tuple[Number, ...], Field(min_length=1)]
    protocol: Protocol = "other_languages"


class SearchConfig(Frozen):
    """LoraHub's search: weights that a few training examples of a cell are told best with.

    `budget` is how many weights are tried, each within ± `bound`; their mean size times `l1` is added to the mean loss.
    """

    cell: StrictStr
    examples: PositiveInt = 16
    budget: PositiveInt = 40
    bound: Annotated[Number, Field(gt=0)] = 1.5
    l1: Annotated[Number, Field(ge=0)] = 0.05


class WeightsConfig(Frozen):
    search: SearchConfig


class TermConfig(Frozen):
    """A source of the study, or an adapter of `adapters`, and what it counts: a number, or an expression of lambda."""

    source: StrictStr | Annotated[tuple[StrictStr, ...], Field(min_length=1)] | None = None
    adapter: StrictStr | None = None
    weight: Number | StrictStr = 1.0
    role: Role | None = None
    layers: Literal["middle", "outer"] | Annotated[tuple[Number, ...], Field(min_length=1)] | None = None

    @field_validator("weight")
    @classmethod
    def _weight_can_be_read(cls, value: float | str) -> float | str:
        if isinstance(value, str) and not _WEIGHT.fullmatch(value.replace(" ", "")):
            raise ValueError("is no weight: write a number, lambda, -lambda, 1-lambda or e.g. 0.5*lambda")
        return value

    @model_validator(mode="after")
    def _names_one_adapter(self) -> TermConfig:
        if (self.source is None) == (self.adapter is None):
            raise ValueError("a term names one of source and adapter")
        return self

    @property
    def line(self) -> tuple[float, float]:
        """The weight as (a, b) of a + b * lambda."""
        if not isinstance(self.weight, str):
            return self.weight, 0.0
        found = _WEIGHT.fullmatch(self.weight.replace(" ", ""))
        assert found is not None  # the validator has looked
        if found["less"]:
            return 1.0, -1.0
        return 0.0, float(found["times"] or 1) * (-1 if found["minus"] else 1)


class Over(Frozen):
    """What `{language}` and `{task}` stand for, one after the other."""

    language: Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    task: Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1)] | None = None


class CompositionConfig(_Aliased):
    """One combination of sources, or with `for` one per language or task.

    Results know it as `name[de]`, or by the name itself where that says `{language}` or `{task}`.
    """

    name: Template
    over: Over = Field(default=Over(), alias="for")
    method: Written
    terms: Annotated[tuple[TermConfig, ...], Field(min_length=1)]
    strength: Number | LambdaConfig | None = Field(default=None, alias="lambda")
    weights: WeightsConfig | None = None
    rank: PositiveInt | Literal["full"] | None = None
    density: Annotated[Number, Field(gt=0, le=1)] | None = None
    scale: Annotated[Number, Field(gt=0)] | None = None
    draw: Count | None = None
    trim: Literal["adapter", "module"] | None = None
    bottom: Count | None = None
    top: Count | None = None
    transition: Count | None = None
    top_k: PositiveInt | None = None
    temperature: Annotated[Number, Field(gt=0)] | None = None

    @property
    def strengths(self) -> tuple[float | None, ...]:
        """The values of lambda; one None where there is none."""
        if isinstance(self.strength, LambdaConfig):
            return self.strength.grid
        return (self.strength,)

    @property
    def protocol(self) -> Protocol | None:
        """On what lambda is chosen; None where it is fixed."""
        return self.strength.protocol if isinstance(self.strength, LambdaConfig) else None

    @model_validator(mode="after")
    def _parameters_are_of_the_method(self) -> CompositionConfig:
        for key, methods in _PARAMETERS.items():
            if getattr(self, key) is not None and self.method not in methods:
                raise ValueError(f"{key} is of {', '.join(methods)}, and the method is {self.method}: leave it out")
        if (needed := _NEEDED.get(self.method)) and getattr(self, needed) is None:
            raise ValueError(f"{self.method} needs {needed}")
        return self

    @model_validator(mode="after")
    def _terms_are_of_the_method(self) -> CompositionConfig:
        roles = [term.role for term in self.terms]
        if self.method == "adamergex":
            if sorted(map(str, roles)) != ["reference", "target", "task"]:
                raise ValueError("adamergex has three terms, of role task, target and reference")
            if any(term.weight != 1.0 for term in self.terms) or self.strength is None:
                raise ValueError("adamergex weighs its terms itself, by lambda: set lambda, and no weight")
        elif any(roles):
            raise ValueError("role is of adamergex")
        if self.method != "layers" and any(term.layers is not None for term in self.terms):
            raise ValueError("layers of a term is of the method layers")
        if self.method == "layers" and any(term.layers is None for term in self.terms):
            raise ValueError("each term of the method layers says which: middle, outer, or a list of weights")
        return self

    @model_validator(mode="after")
    def _weights_are_searched_alone(self) -> CompositionConfig:
        if self.weights is not None:
            if self.method not in ("sum", "svd"):
                raise ValueError(f"weights are searched of a sum, and the method is {self.method}")
            if self.strength is not None or any(term.weight != 1.0 for term in self.terms):
                raise ValueError("weights are searched: leave out lambda, and the weights of the terms")
        return self

    @model_validator(mode="after")
    def _lambda_is_used(self) -> CompositionConfig:
        uses = self.method == "adamergex" or any(term.line[1] for term in self.terms)
        if uses and self.strength is None:
            raise ValueError("its weights name lambda: set it, to a number or {grid: [...], protocol: ...}")
        if self.strength is not None and not uses:
            raise ValueError("lambda is set, and no weight names it")
        if isinstance(self.strength, LambdaConfig) and len(set(self.strength.grid)) < len(self.strength.grid):
            raise ValueError("a value of lambda stands twice in the grid")
        languages = self.over.language
        if self.protocol == "other_languages" and isinstance(languages, tuple) and len(set(languages)) == 1:
            raise ValueError("lambda is chosen on other languages, and `for` has one: name more, or another protocol")
        return self
