"""Whether a model has what a study asks of it beside weights: read from its small files, before anything is started."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from study.bounded import read_json
from study.config import StudyConfig
from study.errors import ConfigError
from study.models.chat import templates_of, tokenizer_of
from study.models.hub import file_of
from study.models.quantised import check_quantised
from study.models.resolve import Model
from study.store.safetensors_header import header_in

NEVER_CAUSAL = {  # types with no such key in their code
    "cpmant": "it reads a prompt as a whole",
    "gemma4_assistant": "it drafts for another model, whose cache it reads",
    "gemma4_unified_assistant": "it drafts for another model, whose cache it reads",
    "xlm": "it reads what comes after a token, for its config.json does not say causal: true",
    "xlnet": "it reads what comes after a token",
}


def check_fits(config: StudyConfig, models: tuple[Model, ...]) -> None:
    """Raise ConfigError for a model that lacks a library, a chat template or rows for its tokenizer's tokens.

    So for one whose tokenizer is code that nobody has trusted.
    """
    for i, model in enumerate(models):
        key, told = f"models[{i}].id", _mapping(model, "config.json")
        _check_type(told, key, model)
        _check_decodes(told, key, model)
        check_quantised(told, config.models[i].quantization, f"models[{i}]", model.path)
        _check_split(config.evaluators.gpus, model)
        chats = config.chats()
        for system_prompt, template in dict.fromkeys((one.system_prompt, one.apply_chat_template) for one in chats):
            _check_chat(system_prompt, template, model)
        _check_vocabulary(told, key, model, bool(chats))
        if not model.trust_remote_code and _mapping(model, "tokenizer_config.json").get("auto_map"):
            with contextlib.suppress(OSError, ImportError, ValueError):  # of these loading says what is wrong
                tokenizer_of(model)


def _check_split(gpus: int, model: Model) -> None:
    """Raise ConfigError for a base that no evaluator can split over its GPUs, as far as that shows without weights."""
    if gpus == 1:
        return
    if model.quantization is not None:
        problem = f"splits a base over them, and that of {model.name} is quantised ({model.quantization})"
    elif 0 < model.layers < gpus:
        problem = f"splits a base over them, and {model.name} has {model.layers} layers, each of which stays whole"
    else:
        return
    raise ConfigError("evaluators.resources", f"{{GPU: {gpus}}}", problem, "ask for fewer, or for 1")


def _check_type(told: Mapping[str, Any], key: str, model: Model) -> None:
    kind, known = told.get("model_type"), _causal_types()
    if known and kind not in known and not model.trust_remote_code:
        problem = f"is no causal language model that transformers knows: its model_type is {kind!r}"
        fix = "take another model, or a newer transformers; a model's own code needs trust_remote_code: true"
        raise ConfigError(key, model.path, problem, fix)


def _check_decodes(told: Mapping[str, Any], key: str, model: Model) -> None:
    """Raise ConfigError for a type that reads what comes after a token, unless its config says otherwise.

    What is no causal language model all the same, loading shows.
    """
    kind = str(told.get("model_type"))
    if kind in NEVER_CAUSAL and not (model.trust_remote_code or told.get("causal")):
        problem = NEVER_CAUSAL[kind]
    elif not (model.trust_remote_code or told.get("is_decoder")) and _asks_for_is_decoder(kind):
        problem = "its config.json does not say is_decoder: true"
    else:
        return
    fix = "take a model that writes from left to right"
    raise ConfigError(key, model.path, f"is no causal language model: {problem}", fix)


def _asks_for_is_decoder(kind: str) -> bool:
    """Whether a type is causal only where its config says so: its code in transformers warns of it."""
    found, name = importlib.util.find_spec("transformers"), kind.replace("-", "_")
    if found is None or found.origin is None or not name.isidentifier():
        return False
    file = Path(found.origin).parent / "models" / name / f"modeling_{name}.py"
    return file.is_file() and "as a standalone, add `is_decoder=True" in file.read_text(encoding="utf-8")


@cache
def _causal_types() -> frozenset[str]:
    """The types of models that AutoModelForCausalLM makes: read, since importing them takes seconds and torch."""
    found = importlib.util.find_spec("transformers")
    if found is None or found.origin is None:
        return frozenset()
    source = (Path(found.origin).parent / "models" / "auto" / "modeling_auto.py").read_text(encoding="utf-8")
    table = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
    )
    pairs = (node for node in ast.walk(table) if isinstance(node, ast.Tuple))
    return frozenset(str(ast.literal_eval(pair.elts[0])) for pair in pairs)


def _check_chat(system_prompt: str | None, template: bool | str, model: Model) -> None:
    """Let the chat template write a first turn, as scoring will."""
    key, value = "scoring.apply_chat_template", template if isinstance(template, str) else "true"
    fix = "set it to false, or take the model's instruction-tuned version"
    if not _has_chat_template(model):
        raise ConfigError(key, value, f"the tokenizer of {model.name} has no chat template", fix)
    if system_prompt is not None:
        fix = "leave it out, or write it into the task's `description`"
    from jinja2 import TemplateError

    turns = [{"role": "user", "content": "?"}]
    begun = turns if system_prompt is None else [{"role": "system", "content": system_prompt}, *turns]
    try:
        tokenizer = tokenizer_of(model)
    except OSError:  # its files cannot be had for now
        return
    named: dict[str, Any] = {"chat_template": template} if isinstance(template, str) else {}
    if named and template not in (known := templates_of(tokenizer)):
        problem = f"the tokenizer of {model.name} has no chat template of that name"
        raise ConfigError(key, value, problem, f"use one of {', '.join(known)}" if known else "it has one: write true")
    key, value = (key, value) if system_prompt is None else ("scoring.system_prompt", system_prompt)
    try:
        written = str(tokenizer.apply_chat_template(begun, tokenize=False, add_generation_prompt=True, **named))
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(key, value, f"the chat template of {model.name} refuses it ({reason})", fix) from error
    if system_prompt is not None and system_prompt.strip() not in written:
        raise ConfigError(key, value, f"the chat template of {model.name} leaves it out", fix)


def _has_chat_template(model: Model) -> bool:
    if file_of(model.path, model.revision, "chat_template.jinja") is not None:
        return True
    return any(_mapping(model, name).get("chat_template") for name in ("tokenizer_config.json", "chat_template.json"))


def _check_vocabulary(told: Mapping[str, Any], key: str, model: Model, chat: bool) -> None:
    """Hold the tokens that texts can become against the rows of the embedding.

    A special token that no text of the study brings in may lie beyond: some models have one for images there.
    """
    rows = _rows(told)
    if rows is None:
        return
    beyond = {token: number for token, number in _tokens(model, chat) if number >= rows}
    if beyond:
        first = min(beyond, key=lambda token: beyond[token])
        problem = f"its tokenizer makes token {beyond[first]} of {first!r}, and its embedding has {rows} rows"
        problem += f" ({len(beyond)} such tokens)" if len(beyond) > 1 else ""
        fix = "resize the embedding (model.resize_token_embeddings) and save it again, or use the base's own tokenizer"
        raise ConfigError(key, model.path, problem, fix)


def embedded(model: Model) -> int | None:
    """How many tokens a model has an embedding of; None where its config does not say. Raises ConfigError."""
    return _rows(_mapping(model, "config.json"))


def longest(model: Model) -> int | None:
    """How many tokens a model has positions for; None where its config does not say. Raises ConfigError."""
    told = _mapping(model, "config.json")
    inner = told.get("text_config")
    both = (inner if isinstance(inner, dict) else {}, told)
    found = (one.get(name) for one in both for name in ("n_positions", "max_position_embeddings", "n_ctx"))
    return next((count for count in found if isinstance(count, int)), None)


def weights(model: Model) -> Mapping[str, tuple[int, ...]]:
    """The shapes of a local model's weights by their names; none of one of the Hub, or that is quantised or damaged."""
    folder = Path(model.path)
    if not folder.is_dir() or _mapping(model, "config.json").get("quantization_config"):
        return {}
    try:
        return {name: shape for file in folder.glob("*.safetensors") for name, shape in header_in(file).shapes.items()}
    except ValueError:  # loading the base says so of the base
        return {}


def _rows(told: Mapping[str, Any]) -> int | None:
    text = told.get("text_config")
    rows = told.get("vocab_size") or (text.get("vocab_size") if isinstance(text, dict) else None)
    return rows if isinstance(rows, int) else None


def _tokens(model: Model, chat: bool) -> Iterator[tuple[str, int]]:
    whole, settings = _mapping(model, "tokenizer.json"), _mapping(model, "tokenizer_config.json")
    vocabulary = (whole.get("model") or {}).get("vocab") or {}
    if isinstance(vocabulary, dict):
        yield from vocabulary.items()
    else:
        yield from ((entry[0], number) for number, entry in enumerate(vocabulary))
    file = file_of(model.path, model.revision, "chat_template.jinja")
    template = (file.read_text(encoding="utf-8") if file else str(settings.get("chat_template"))) if chat else ""
    used = {_text(settings.get(f"{role}_token")) for role in ("bos", "eos")}
    for added in whole.get("added_tokens") or ():
        token = str(added["content"])
        if not added.get("special") or token in used or token in template:
            yield token, int(added["id"])


def _text(token: object) -> str:
    return str(token.get("content")) if isinstance(token, dict) else str(token)


def _mapping(model: Model, name: str) -> dict[str, Any]:
    """Read a JSON file of the model; nothing where there is none. Raises ConfigError."""
    file: Path | None = file_of(model.path, model.revision, name)
    if file is None:
        return {}
    try:
        read = read_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "models", model.path, f"its {name} cannot be read ({error})", "save the model again"
        ) from error
    return read if isinstance(read, dict) else {}
