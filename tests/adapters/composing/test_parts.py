"""Parts are plain LoRA, or they are named with what they are instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from adapters.composing.parts import read_parts
from adapters.folders.folder import UnsupportedAdapter
from study.composition import Term
from tests.adapters.composing.conftest import World
from tests.support.compositions import saved


def test_parts_come_in_the_order_of_the_terms(llama: World) -> None:
    found = read_parts(llama.base, [Term("c"), Term("a"), Term("c", 2.0)], llama.folders)
    assert [part.rank for part in found] == [14, 4, 14]


def test_what_is_not_plain_lora_is_named(llama: World, tmp_path: Path) -> None:
    dora = LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)
    folders = {**llama.folders, "d": saved(Path(llama.model.path), dora, tmp_path / "dora", 9)}
    with pytest.raises(UnsupportedAdapter, match=r"parts are not: d \(.*use_dora"):
        read_parts(llama.base, [Term("a"), Term("d")], folders)


def test_a_part_that_is_broken_is_named(llama: World, tmp_path: Path) -> None:
    shutil.copytree(llama.folders["b"], tmp_path / "b")
    tensors = load_file(tmp_path / "b/adapter_model.safetensors")
    tensors[min(tensors)][0, 0] = torch.nan
    save_file(tensors, tmp_path / "b/adapter_model.safetensors")
    with pytest.raises(UnsupportedAdapter, match=r"parts are not: b \(not finite"):
        read_parts(llama.base, [Term("b")], {"b": tmp_path / "b"})
