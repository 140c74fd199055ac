"""The one way to load a base model, its config and its tokenizer: from a local folder, or from the Hub's cache.

The Hub's files are fetched by one process of a machine for all (`local_folder`). Invariant: weights come from
safetensors alone, and the code that a model brings with it runs only where the config trusts it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adapters.base.device import read_no_texts
from adapters.base.probe import Probe, probe
from adapters.quantising.weights import keep_as_loaded, prepare, settings
from adapters.splitting.split import devices_of, placed, settle
from study.errors import ConfigError
from study.models.hub import local_folder
from study.models.resolve import Model

AGAIN = "copy the folder again, or save the model again"
WHOLE = "set evaluators.resources to {GPU: 1}"  # where a base cannot be split over several


def load_model(model: Model, *devices: torch.device) -> PreTrainedModel:
    """The base in the model's dtype, on the CPU; its weights are spread over processes where ZeRO 3 is set up.

    Where there are several `devices` some of its layers lie on each. Weights that are quantised are so on the first, at
    once: each is packed as soon as it is read.

    Raises ConfigError where it is of no kind that transformers loads as a causal language model, or that it does not
    build, where it cannot be split, and where its folder lacks weights: transformers would fill them at random, anew at
    each load.
    """
    read_no_texts()
    folder = local_folder(model.path, model.revision)
    try:
        found: object = AutoModelForCausalLM.from_pretrained(
            folder,
            **_told(model, devices),
            dtype=getattr(torch, model.dtype),
            trust_remote_code=model.trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever its code comes to
        shell_of(model)  # where it is not built without weights either, that is said
        if "ignore_mismatched_sizes" in str(error):
            problem = "its weights are of other sizes than its config.json says"
            raise ConfigError("models", model.path, problem, AGAIN) from error
        raise
    loaded, info = cast(tuple[PreTrainedModel, Mapping[str, Collection[str]]], found)
    lacking = sorted(map(str, (*info["missing_keys"], *info["mismatched_keys"])))
    if lacking:
        problem = f"its folder lacks the weights {lacking[0]} ({len(lacking)} in all)"
        raise ConfigError("models", model.path, problem, AGAIN)
    keep_as_loaded(loaded)
    if len(devices) > 1:
        settle(loaded)
    return loaded


def _told(model: Model, devices: Sequence[torch.device]) -> dict[str, object]:
    """What transformers is told beside the rest: of attention, where weights lie, and how they are to be quantised.

    Quantised ones are not split, which planning has refused.
    """
    told: dict[str, object] = {} if model.attention is None else {"attn_implementation": model.attention}
    if model.quantization is None:
        return told | {"device_map": _placed(model, devices)} if len(devices) > 1 else told
    prepare()
    told["device_map"] = {"": devices[0] if devices else torch.device("cpu")}
    if not getattr(load_config(model), "quantization_config", None):
        told["quantization_config"] = settings(model.quantization, getattr(torch, model.dtype))
    return told


def check_split(model: Model, gpus: int) -> None:
    """Raise ConfigError for a base that cannot be split over so many GPUs, as far as that shows without its weights."""
    _placed(model, [torch.device("cuda", number) for number in range(gpus)])


def _placed(model: Model, devices: Sequence[torch.device]) -> dict[str, torch.device]:
    try:
        return placed(shell_of(model), devices)
    except ValueError as error:
        problem = f"cannot be split over {len(devices)} GPUs: {error}"
        raise ConfigError("models", model.path, problem, WHOLE) from error


def shell_of(model: Model) -> PreTrainedModel:
    """The base without weights. Raises ConfigError where transformers does not build it as a causal language model."""
    config = load_config(model)
    try:
        with torch.device("meta"):
            shell: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=model.trust_remote_code
            )
    except MemoryError:
        raise
    except Exception as error:  # whatever its code comes to
        if "Unrecognized configuration class" in str(error):
            raise not_causal(model, "transformers has no causal language model of its type") from error
        reason = f"transformers does not build it: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        fix = "install what it asks for, or take another model"
        raise ConfigError("models", model.path, reason, fix) from error
    return shell


def check_readable(base: PreTrainedModel, model: Model) -> Probe:
    """Raise ConfigError for a base that does not run on tokens alone, or whose logits hang on more than these before.

    Its weights must be whole in this process. Returns what was found.
    """
    try:
        found = probe(base)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # whatever its code comes to
        reason = f"cannot be run on tokens alone: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        fix = "take another model" if len(devices_of(base)) == 1 else f"{WHOLE}, or take another model"
        raise ConfigError("models", model.path, reason, fix) from error
    if found.trouble is not None:
        raise not_causal(model, found.trouble)
    return found


def embedded(base: PreTrainedModel) -> int:
    """How many tokens a base has an embedding of."""
    weight = cast(torch.nn.Embedding, base.get_input_embeddings()).weight
    return int(getattr(weight, "ds_shape", weight.shape)[0])  # that of one that is spread over processes


def not_causal(model: Model, reason: str) -> ConfigError:
    """Say that a model cannot be studied, because it does not predict each token from those before it alone."""
    fix = "use a causal language model; some of the BERT family are one with is_decoder: true in their config.json"
    return ConfigError("models", model.path, f"is no causal language model: {reason}", fix)


def load_config(model: Model) -> PretrainedConfig:
    """The base's config; on the Hub it fetches no weights for it. Raises ConfigError where it cannot be used."""
    folder = local_folder(model.path, model.revision, weights=False)
    try:
        return cast(PretrainedConfig, AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code))
    except OSError:
        raise
    except Exception as error:  # whatever its checks come to
        reason = f"its config.json cannot be used: {' '.join(str(error).split())[:200]}"
        raise ConfigError("models", model.path, reason, AGAIN) from error


def tokenizer_in(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that lies in an adapter's folder; code of its own does not run. Raises what its files come to."""
    return cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
