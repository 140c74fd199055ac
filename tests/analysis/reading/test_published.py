"""The reference study's CSV: what is read of it, and families of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.reading import published
from study.errors import ConfigError


def test_published_table_with_a_missing_column(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("model_name,regime\nm,MT-ML\n")
    with pytest.raises(ConfigError, match="has no column"):
        published.read_reference(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Llama-3.2-1B-Instruct", "Llama-3"),
        ("meta-llama/Meta-Llama-3.1-8B", "Llama-3"),
        ("Qwen2.5-0.5B-Instruct", "Qwen2.5"),
        ("gemma-3-1b-it", "gemma-3"),
        ("SmolLM2-135M-Instruct", "SmolLM2"),
        ("own", "own"),
    ],
)
def test_family_is_read_off_the_name(name: str, family: str) -> None:
    assert published.family(name) == family
