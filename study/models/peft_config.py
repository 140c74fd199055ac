"""adapter_config.json of an adapter that was made elsewhere: whether it can be an adapter's, told without PEFT.

What is wrong here would fail each of the adapter's units later. What only PEFT knows, its scoring finds.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from study.bounded import read_json
from study.models.given_safety import slow_pattern

UNSUPPORTED = {  # kinds that no row of tokens decides
    "MULTITASK_PROMPT_TUNING": "wants to be told a task's number with each text",
    "POLY": "wants to be told a task's number with each text",
    "SHADOW": "is not loaded by PEFT itself",
    "XLORA": "mixes adapters that lie in other folders",
}
HARMLESS_STARTS = (True, False, None, "gaussian", "orthogonal", "eva", "mica")  # the others change the base's weights
REPEATABLE_STARTS = ("pissa", "olora")  # of these, those that come to the same from the same base each time
LARGEST = 3.4e38  # that float32 holds
TASKS = ("SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION", None)
PROMPTS = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "CPT", "CARTRIDGE")  # vectors that stand before each text


def read(file: Path) -> dict[str, Any]:
    """Read and check an adapter's configuration. Raises ValueError, which says in a line what is wrong."""
    try:
        config = read_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"its {file.name} cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(config, dict):
        raise ValueError(f"its {file.name} cannot be read (it holds no mapping)")
    problem = _problem(config)
    if problem is not None:
        raise ValueError(f"its {file.name} cannot be used: {problem}")
    return config


def _problem(config: Mapping[str, Any]) -> str | None:
    kind = config.get("peft_type")
    if not isinstance(kind, str) or not kind:
        return f"peft_type is {_told(kind)}, not the name of a kind of adapter"
    if f'"{kind}"' not in _kinds():
        return f"peft_type is {kind}, which the installed PEFT does not know"
    if kind in UNSUPPORTED:
        return f"peft_type is {kind}, which {UNSUPPORTED[kind]}"
    if kind in PROMPTS and (problem := _wrong_prompt(config)) is not None:
        return problem
    if (task := config.get("task_type")) not in TASKS:
        return f"task_type is {_told(task)}, which the installed PEFT does not know"
    if config.get("alora_invocation_tokens"):
        return "activated LoRA depends on the text it stands in; use LoRA"
    if (start := config.get("init_lora_weights", True)) not in (*HARMLESS_STARTS, *REPEATABLE_STARTS):
        told = "save it again with path_initial_model_for_weight_conversion"
        return f"init_lora_weights is {_told(start)}, which changes the model's weights, each time otherwise; {told}"
    targets = config.get("target_modules")
    if targets is not None and not (isinstance(targets, str) or _are_texts(targets)):
        return f"target_modules is {_told(targets)}, neither a text nor a list of texts"
    return slow_pattern(config) or (_wrong_number(config) if kind == "LORA" else None)


@cache
def _kinds() -> str:
    """The text in which PEFT names its kinds of adapters: importing it takes seconds and torch."""
    found = importlib.util.find_spec("peft")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "utils" / "peft_types.py").read_text(encoding="utf-8")


def _wrong_prompt(config: Mapping[str, Any]) -> str | None:
    number = config.get("num_virtual_tokens")
    if config.get("task_type") != "CAUSAL_LM":
        return f"task_type is {_told(config.get('task_type'))}, and PEFT puts a prompt before texts for CAUSAL_LM alone"
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        return f"num_virtual_tokens is {_told(number)}, not a whole number from 1 on"
    return None


def _wrong_number(config: Mapping[str, Any]) -> str | None:
    """Find a rank or an alpha of LoRA that is none."""
    for key, pattern in (("r", "rank_pattern"), ("lora_alpha", "alpha_pattern")):
        own = config.get(pattern) or {}
        if not isinstance(own, dict):
            return f"{pattern} is {_told(own)}, not a mapping of names to numbers"
        for name, value in ((key, config.get(key)), *own.items()):
            number = isinstance(value, int if key == "r" else int | float) and not isinstance(value, bool)
            if not (number and abs(value) <= LARGEST) or (key == "r" and value < 1):
                return f"{name} is {_told(value)}, not {'a whole number from 1 on' if key == 'r' else 'a number'}"
    return None


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _told(value: object) -> str:
    return f"{json.dumps(value, ensure_ascii=False)}"[:60]
