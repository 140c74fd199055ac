"""Models whose weights are quantised: their identity, and what they are known to hold before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.config import ModelConfig
from study.errors import ConfigError
from study.identity import digest
from study.models.quantised import check_quantised, stated
from study.models.resolve import Model, _digest_folder, resolve
from tests.support.quantised import QUANTISATIONS, loaded
from tests.support.tiny_models import save_model


def of(folder: Path, quantization: str | None = None, dtype: str = "float32") -> Model:
    return resolve(ModelConfig.model_validate({"id": str(folder), "quantization": quantization}), dtype, "models[0]")


def test_quantisation_is_in_the_identity_and_its_absence_is_not(tiny_model_dir: Path) -> None:
    found = {one: of(tiny_model_dir, one) for one in (None, *QUANTISATIONS)}
    assert len({one.identity for one in found.values()}) == 3
    assert found[None].identity == digest({"weights": _digest_folder(tiny_model_dir.resolve()), "dtype": "float32"})


def test_weights_take_as_many_bytes_as_they_are_packed_to(tiny_model_dir: Path) -> None:
    """All but embeddings and output heads."""
    whole, nf4, int8 = (of(tiny_model_dir, one) for one in (None, *QUANTISATIONS))
    body = whole.params - whole.embedded
    assert whole.bytes == 4 * whole.params
    assert int8.bytes == body + 4 * whole.embedded
    assert nf4.bytes == round(body * 9 / 16) + 4 * whole.embedded
    assert of(tiny_model_dir, "int8", "bfloat16").bytes == body + 2 * whole.embedded


@pytest.mark.parametrize("quantization", QUANTISATIONS)
def test_a_folder_that_is_quantised_already_is_known_as_that(
    quantization: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """By the same names and numbers as before, though its tensors are others."""
    save_model(loaded(tiny_model_dir, quantization), tmp_path)
    for file in tiny_model_dir.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before, found = of(tiny_model_dir, quantization), of(tmp_path)
    assert found.quantization == quantization
    facts = ("params", "embedded", "modules", "layers", "is_mixed", "bytes")
    assert [getattr(found, one) for one in facts] == [getattr(before, one) for one in facts]
    assert found.identity != before.identity


def test_a_way_to_quantise_that_says_no_name_is_told_and_none_at_all_is_none() -> None:
    assert stated({"quantization_config": {}}) is None
    check_quantised({"quantization_config": {}}, "nf4", "models[0]", "m")
    with pytest.raises(ConfigError, match=r"the weights of m are quantised already \(an unnamed method\)"):
        check_quantised({"quantization_config": {"bits": 4}}, "nf4", "models[0]", "m")
