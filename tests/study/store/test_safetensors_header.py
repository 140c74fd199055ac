"""A header is read as safetensors writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from safetensors.torch import _TYPES
from safetensors.torch import save as torch_save

from study.store.safetensors_header import header_end, header_in, header_of

DATA = save({"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.float16)}, metadata={"state": "x"})


def test_a_header_says_shapes_size_and_metadata(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(DATA)
    for found in (header_in(tmp_path / "whole"), header_of(DATA[: header_end(DATA)])):
        assert found.shapes == {"a": (2, 3), "b": (5,)}
        assert (found.size, found.metadata) == (len(DATA), {"state": "x"})


OTHERS = [b"", b"no", DATA[:-1], DATA + b"x", DATA[:40], b"\xff" * 64, b"\x02" + bytes(7) + b"[]"]


@pytest.mark.parametrize("data", OTHERS)
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "other").write_bytes(data)
    with pytest.raises(ValueError, match=r"other is (truncated|no safetensors file)"):
        header_in(tmp_path / "other")


@pytest.mark.parametrize("dtype", sorted(set(_TYPES.values()), key=str), ids=str)
def test_each_type_that_safetensors_writes_is_known(dtype: torch.dtype) -> None:
    data = torch_save({"a": torch.zeros(4, 2, dtype=dtype)})
    assert header_of(data).shapes["a"][0] == 4


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '{"a": {"shape": "12", "data_offsets": [0, 1]}}',  # was read as (1, 2)
        '{"a": {"shape": [-1], "data_offsets": [0, 1]}}',
        '{"a": {"shape": [true], "data_offsets": [0, 1]}}',
        '{"a": {"shape": [1e3], "data_offsets": [0, 1]}}',
        '{"a": {"shape": [1], "data_offsets": [4, 0]}}',
        '{"a": {"shape": [1], "data_offsets": [0, 1, 2]}}',
        '{"a": {"shape": [9999999999999999999999], "data_offsets": [0, 1]}}',
        '{"a": {"dtype": "F32", "shape": [4611686018427387904, 4611686018427387904], "data_offsets": [0, 1]}}',
        '{"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 1]}}',
        '{"a": {"dtype": "F12", "shape": [1], "data_offsets": [0, 1]}}',
        '{"a": {"shape": [1], "data_offsets": [0, 1]}}',
        '{"a": 1}',
        '{"__metadata__": 1}',
    ],
)
def test_an_odd_header_is_told_in_a_line(tmp_path: Path, header: str) -> None:
    """Some of them ended in tracebacks (RecursionError), others were believed."""
    (tmp_path / "odd").write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"x")
    with pytest.raises(ValueError, match="odd is no safetensors file") as told:
        header_in(tmp_path / "odd")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300
