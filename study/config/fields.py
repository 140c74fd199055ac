"""The kinds of values that a config is made of: strict, so that a value that was meant otherwise is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Auto = Literal["auto"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _number(value: object) -> object:
    """YAML 1.1 reads `5e-5` as text: take text that is a number, and nothing else that only looks like one."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _path_part(value: str) -> str:
    if not SAFE_NAME.fullmatch(value):
        raise ValueError("becomes a folder name: use letters, digits, '.', '_' and '-', not first '.' or '-'")
    return value


def _template(value: str) -> str:
    """A name in which other names may be filled in."""
    _path_part(value.replace("{language}", "x").replace("{task}", "x"))
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Name = Annotated[StrictStr, BeforeValidator(lambda v: _path_part(v) if isinstance(v, str) else v)]
Template = Annotated[StrictStr, BeforeValidator(lambda v: _template(v) if isinstance(v, str) else v)]
PositiveInt = Annotated[StrictInt, Field(gt=0, lt=1 << 63)]  # as columns of results hold them
Count = Annotated[StrictInt, Field(ge=0, lt=1 << 63)]
Resources = dict[StrictStr, Annotated[Number, Field(gt=0)]]


def name_of(model: str) -> str:
    """What a model is called where nobody says: by the last part of its folder, or of its id on the Hub."""
    return model.rstrip("/").rpartition("/")[2]


def on_gpu(resources: Mapping[str, float]) -> bool:
    """Whether a process with these runs models on GPUs."""
    return "GPU" in resources


def share_of_gpu(resources: Mapping[str, float]) -> float:
    """What a process with these may take of a GPU: all of it where it has whole ones, or none."""
    return min(1.0, resources.get("GPU", 1.0))
