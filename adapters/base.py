"""The one way to load a base model, its config and its tokenizer: from a local folder, or from the Hub's cache.

The Hub's files are fetched by one process of a machine for all (`local_folder`). Invariant: weights come from
safetensors alone, and the code that a model brings with it runs only where the config trusts it.
"""

from __future__ import annotations

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

from study.models.hub import local_folder
from study.models.resolve import Model


def load_model(model: Model) -> PreTrainedModel:
    """The base in the model's dtype, on the CPU; its weights are spread over processes where ZeRO 3 is set up."""
    loaded = AutoModelForCausalLM.from_pretrained(
        local_folder(model.path, model.revision),
        dtype=getattr(torch, model.dtype),
        trust_remote_code=model.trust_remote_code,
        use_safetensors=True,
    )
    return cast(PreTrainedModel, loaded)


def load_config(model: Model) -> PretrainedConfig:
    """The base's config; on the Hub it fetches no weights for it."""
    folder = local_folder(model.path, model.revision, weights=False)
    return cast(PretrainedConfig, AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code))


def load_tokenizer(model: Model) -> PreTrainedTokenizerBase:
    """The base's tokenizer; on the Hub it fetches no weights for it."""
    folder = local_folder(model.path, model.revision, weights=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    return cast(PreTrainedTokenizerBase, tokenizer)
