"""Models whose weights are quantised, as transformers and PEFT load them by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapters.quantising.bitsandbytes import show
from tests.support import zoo
from tests.support.families import make_family
from tests.support.tiny_models import save_model

QUANTISATIONS = ("nf4", "int8")
ARCHITECTURES = ("llama", "gpt2")  # the latter keeps its matrices transposed


def config_of(quantization: str, dtype: str = "float32") -> Any:
    """What a user of transformers, PEFT or lm-eval writes."""
    show()
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


@contextmanager
def unpacked() -> Iterator[None]:
    """Within, models are loaded whose weights stay as they are: on some processors bitsandbytes packs them anew.

    It does so for products of half precision, and cannot where matrices are as small as here.
    """
    show()
    with mock.patch("bitsandbytes.nn.modules.has_avx512bf16", return_value=False):
        yield


def loaded(folder: Path | str, quantization: str | None, dtype: str = "float32") -> Any:
    how = {} if quantization is None else {"quantization_config": config_of(quantization, dtype), "device_map": "cpu"}
    with unpacked():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **how)


def make_architecture(name: str, folder: Path) -> Path:
    """A tiny model of a type, with a tokenizer."""
    make_family("llama", folder)
    if name != "llama":
        save_model(zoo.build(name, len(AutoTokenizer.from_pretrained(folder))), folder)
    return folder
