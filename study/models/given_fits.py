"""Whether an adapter that was made elsewhere fits its model, as far as the headers of their files tell.

What is wrong here would fail each of the adapter's units later. Where files do not tell, nothing is said: names and
layouts of weights differ between libraries, and loading looks at the modules themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.bounded import read_json
from study.models.peft_config import PROMPTS
from study.models.shapes import is_embedding
from study.store.layout import TOKENIZER_FILE

Shapes = Mapping[str, tuple[int, ...]]
_BEGINS, _PREFIX, _VECTORS = "base_model.", "base_model.model.", "prompt_embeddings"
_A_ROW_EACH = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING")  # kinds whose vectors have a row for each virtual token
_OTHER_EMBEDDINGS = ("wpe", "pos", "type", "per_layer")
_SINGLE_EXPERT = re.compile(r"(^|\.)experts\.\d+\.")
_ENDS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")  # that are of tokens for certain


def check_tensors(config: Mapping[str, Any], own: Shapes, base: Shapes, longest: int | None) -> None:
    """Hold an adapter's tensors against its configuration, and the model's. Raises ValueError.

    `base` is empty where the model's weights are not at hand, or not what their modules hold; `longest` is how many
    tokens the model reads, where its configuration says so.
    """
    if config["peft_type"] in PROMPTS:
        if own and own.keys() != {_VECTORS}:
            raise ValueError(f"its weights hold {min(own)}, and not {_VECTORS} alone")
        number, shape = config["num_virtual_tokens"], own.get(_VECTORS, ())
        if config["peft_type"] in _A_ROW_EACH and shape and shape[0] != number:
            raise ValueError(f"its weights hold {shape[0]} virtual tokens, and its adapter_config.json says {number}")
        if longest is not None and number >= longest:
            raise ValueError(f"its {number} virtual tokens leave no room for a text: the model reads {longest} tokens")
        return
    for name in own:
        if not name.startswith(_BEGINS):
            raise ValueError(f"its {name} does not begin with {_PREFIX}: PEFT would leave it out")
    if not own:
        raise ValueError("its weights hold nothing")
    if config["peft_type"] == "LORA":
        matrices = {name.removeprefix(_PREFIX): shape for name, shape in own.items() if ".lora_" in name}
        _check_halves(matrices)
        _check_rank(config, matrices)
        if config.get("use_rslora") and (single := next(filter(_SINGLE_EXPERT.search, matrices), None)):
            raise ValueError(f"{single} is of a single expert and scaled by use_rslora: PEFT scales it otherwise")
        if not config.get("target_parameters"):
            _check_targets(config.get("target_modules"), matrices)
        if not config.get("use_qalora"):
            _check_sizes(matrices, base)


def rows_of_tokens(own: Shapes) -> set[int]:
    """How many rows an adapter's whole embeddings of tokens and whole heads have."""
    return {shape[0] for name, shape in own.items() if len(shape) == 2 and _is_of_tokens(name)}


def check_tokenizer(folder: Path, own: Shapes, embedded: int, chat: bool) -> None:
    """Whether a tokenizer lies beside an embedding of its own, and can be read. Raises ValueError."""
    rows = {shape[0] for name, shape in own.items() if len(shape) == 2 and _module(name).endswith(_ENDS)}
    rows = {number for number in rows & rows_of_tokens(own) if number != embedded}
    if not rows:
        return
    file = folder / TOKENIZER_FILE
    if not file.is_file():
        raise ValueError(f"its embedding has {max(rows)} rows, the model's {embedded}, and no {file.name} lies beside")
    told = _read(file)
    vocabulary = told.get("model", {}).get("vocab") if isinstance(told.get("model"), dict) else None
    added = told.get("added_tokens") or []
    if isinstance(vocabulary, dict):
        tokens = vocabulary.keys() | {one["content"] for one in added if isinstance(one, dict) and "content" in one}
        if len(tokens) > max(rows):
            raise ValueError(f"its tokenizer has {len(tokens)} tokens, and its embedding {max(rows)} rows")
    settings = folder / "tokenizer_config.json"
    has_template = (folder / "chat_template.jinja").is_file() or (
        settings.is_file() and bool(_read(settings).get("chat_template"))
    )
    if chat and not has_template:
        raise ValueError("its tokenizer has no chat template, and scoring.apply_chat_template asks for one")


def _check_halves(matrices: Shapes) -> None:
    for name in matrices:
        for half, other in (("A", "B"), ("B", "A")):
            if (
                name.endswith(f".lora_{half}.weight")
                and name.replace(f".lora_{half}.", f".lora_{other}.") not in matrices
            ):
                raise ValueError(f"its {name} is without lora_{other}")


def _check_rank(config: Mapping[str, Any], matrices: Shapes) -> None:
    if config.get("rank_pattern") or config.get("target_parameters"):
        return
    for name, shape in matrices.items():
        if name.endswith(".lora_A.weight") and len(shape) == 2 and shape[0] != config["r"]:
            raise ValueError(f"its {name} has rank {shape[0]}, and its adapter_config.json says r = {config['r']}")


def _check_targets(stated: object, matrices: Shapes) -> None:
    """Whether each matrix is of a module that is named, by the last part of its name."""
    if not isinstance(stated, list):  # a pattern, or all that are linear
        return
    named = {str(one).rpartition(".")[2] for one in stated}
    for name in matrices:
        if name.rpartition(".lora_")[0].rpartition(".")[2] not in named:
            raise ValueError(f"its {name} is of no module that target_modules names in its adapter_config.json")


def _check_sizes(matrices: Shapes, base: Shapes) -> None:
    """Whether any of the matrices fits the model's of the same name, of those that can be compared."""
    wrong = ""
    for name, shape in matrices.items():
        module, _, half = name.rpartition(".lora_")
        theirs = base.get(f"{module}.weight")
        if half not in ("A.weight", "B.weight") or len(shape) != 2 or theirs is None or len(theirs) != 2:
            continue
        size = shape[1] if half == "A.weight" else shape[0]
        if size in theirs:
            return
        wrong = wrong or f"its {name} is made for a matrix of other size than the model's {theirs[0]} × {theirs[1]}"
    if wrong:
        raise ValueError(f"{wrong}: it was trained on another model")


def _is_of_tokens(name: str) -> bool:
    module = _module(name)
    return name.endswith(".weight") and is_embedding(module) and not any(part in module for part in _OTHER_EMBEDDINGS)


def _module(name: str) -> str:
    return name.replace(".base_layer", "").replace(".modules_to_save", "").removesuffix(".weight")


def _read(file: Path) -> dict[str, Any]:
    try:
        read = read_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"its {file.name} cannot be read ({' '.join(str(error).split())[:100]})") from error
    return read if isinstance(read, dict) else {}
