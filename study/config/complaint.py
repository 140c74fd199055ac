"""What pydantic says of a value that does not fit, as one clear ConfigError."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from study.errors import ConfigError


def readable(error: ValidationError, schema: type[BaseModel], where: str = "") -> ConfigError:
    """Put the deepest of pydantic's complaints in the user's terms; `where` in a config the `schema` is of a part."""
    problems = error.errors(include_url=False)
    models = _models_below(schema)
    located = [(_place(problem, models), problem) for problem in problems]
    location, problem = max(located, key=lambda pair: len(pair[0]))
    alternatives = [_said(other, models) for place, other in located if place == location]  # one per branch of a union
    inside = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    key = f"{where}{inside}".lstrip(".")
    kind, value = problem["type"], problem["input"]
    if kind == "missing":
        return ConfigError(key, "(nothing)", "is required", f"add {key}")
    if kind == "extra_forbidden":
        known = _keys_at(schema, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        return ConfigError(  # its value may be of a file that was not meant
            key, "…", "unknown key", f"did you mean `{near[0]}`?" if near else f"use one of {', '.join(known)}"
        )
    message = ", or ".join(dict.fromkeys(alternatives))
    fix = "give a value of that kind"
    if kind == "string_type" and isinstance(value, bool):
        fix = "put it in quotes: YAML reads yes, no, on and off as true and false"
    elif kind == "value_error":
        fix = "change the value as it says"
    elif kind == "literal_error":
        fix = "use one of them"
    return ConfigError(key, value, message, fix)


def _place(problem: ErrorDetails, models: Mapping[str, type[BaseModel]]) -> list[str | int]:
    """Where a complaint is, in keys and numbers. An unknown key is one whatever is in it."""
    at = problem["loc"]
    is_unknown = problem["type"] == "extra_forbidden"
    return [
        part
        for number, part in enumerate(at, 1)
        if isinstance(part, int) or (is_unknown and number == len(at)) or (_is_key(part) and part not in models)
    ]


def _said(problem: ErrorDetails, models: Mapping[str, type[BaseModel]]) -> str:
    """A complaint as part of a sentence; keys in place of the name of a class that nobody has seen."""
    if problem["type"] == "model_type":
        return f"input should be a mapping with keys {', '.join(_keys_of(models[problem['ctx']['class_name']]))}"
    text = problem["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]


def _is_key(part: str | int) -> bool:
    """Tell keys from the union branches that pydantic names in a location too (`tuple[...]`, `literal['all']`)."""
    return (
        isinstance(part, str)
        and not any(mark in part for mark in "[](-")
        and part not in {"str", "int", "float", "none"}
    )


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """List the keys that a schema knows at a place."""
    for part in location:
        if isinstance(part, str):
            field = next((own for name, own in model.model_fields.items() if part in (name, own.alias)), None)
            nested = _models_in(field.annotation) if field else []
            if not nested:
                return []
            model = nested[0]
    return _keys_of(model)


def _keys_of(model: type[BaseModel]) -> list[str]:
    """The keys as they are written."""
    return sorted({field.alias or name for name, field in model.model_fields.items()} - {"trial_run"})


def _models_below(schema: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """A schema and all that it is made of, by the names of their classes, which pydantic names in a location too."""
    found, new = dict[str, type[BaseModel]](), [schema]
    while new:
        model = new.pop()
        found[model.__name__] = model
        below = [one for field in model.model_fields.values() for one in _models_in(field.annotation)]
        new += [one for one in below if one.__name__ not in found]
    return found


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
