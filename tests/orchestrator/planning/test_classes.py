"""How a model computes attention: as it is asked, which enters its identity; refused where it has not got it.

And one that cannot be split is refused where evaluators have several GPUs.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from adapters.base.loading import load_model
from adapters.base.probe import apart, said, tokens_of
from orchestrator.planning.classes import check_classes
from study.config.file import parse
from study.errors import ConfigError
from study.models.resolve import Model, resolve_all
from tests.support import flash

ON_GPUS = "evaluators.resources={GPU: 1}", "training.resources_per_worker={GPU: 1}"


def planned(folder: Path, attention: str, *overrides: str, dtype: str = "auto") -> Model:
    entry = f"models: [{{id: '{folder}', attn_implementation: {attention}, dtype: {dtype}}}]\n"
    config = parse(entry + "languages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]", overrides)
    [model] = resolve_all(config)
    check_classes(config, [model])
    return model


def test_a_base_is_loaded_with_it_and_is_another_one_where_it_is_set(tiny_model_dir: Path) -> None:
    models = {one: planned(tiny_model_dir, one, dtype="float32") for one in ("null", "sdpa", "eager")}
    assert len({model.identity for model in models.values()}) == 3
    bases = {one: load_model(model).eval() for one, model in models.items()}
    assert [base.config._attn_implementation for base in bases.values()] == ["sdpa", "sdpa", "eager"]
    eager, sdpa = (said(bases[one], tokens_of(bases[one])) for one in ("eager", "sdpa"))
    assert float(apart(eager, sdpa).max()) < 1e-4


def test_one_that_cannot_run_is_refused(tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BloomConfig, FalconConfig, Gemma2Config

    from tests.support.tiny_models import make_tokenizer

    lacks = r"models\[0\]\.attn_implementation = 'flash_attention_2': the library flash-attn is not installed"
    for installed in (None, "flash-attn-4", "flash-attn"):
        if installed is not None:
            flash.install(tmp_path / installed, monkeypatch, installed)
        with nullcontext() if installed == "flash-attn" else pytest.raises(ConfigError, match=lacks):
            planned(tiny_model_dir, "flash_attention_2", *ON_GPUS)
    with pytest.raises(ConfigError, match=r"computes in half precision, and .* is in float32"):
        planned(tiny_model_dir, "flash_attention_2", *ON_GPUS, dtype="float32")
    with pytest.raises(ConfigError, match=r"runs on GPUs alone, and evaluators\.resources asks for none"):
        planned(tiny_model_dir, "flash_attention_2", "evaluators.resources={CPU: 1}")
    with pytest.raises(ConfigError, match=r"training\.packing = 'True': models\[0\]\.attn_implementation is flash_at"):
        planned(tiny_model_dir, "flash_attention_2", *ON_GPUS, "training.packing=true")
    with pytest.raises(ConfigError, match="should be 'eager', 'sdpa' or 'flash_attention_2'"):
        planned(tiny_model_dir, "fast")
    make_tokenizer(tmp_path)
    BloomConfig(hidden_size=8, n_layer=1, n_head=2, vocab_size=400).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tiny_model_dir / "model.safetensors").read_bytes())
    planned(tmp_path, "eager")
    with pytest.raises(ConfigError, match="BloomForCausalLM has no such attention"):
        planned(tmp_path, "sdpa")
    for other, lack in ((FalconConfig, "cannot be switched to it"), (Gemma2Config, "has not got it")):
        other(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=400).save_pretrained(tmp_path)
        with pytest.raises(ConfigError, match=f"need sdpa beside it, and {other.__name__[:-6]}ForCausalLM {lack}"):
            planned(tmp_path, "flash_attention_2", *ON_GPUS)


def test_one_that_cannot_be_split_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    from transformers import CTRLConfig

    from tests.support.tiny_models import make_tokenizer

    two = "evaluators.resources={GPU: 2}"
    planned(tiny_model_dir, "null", two)
    make_tokenizer(tmp_path)
    CTRLConfig(n_embd=8, n_layer=2, n_head=2, dff=8, vocab_size=400).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tiny_model_dir / "model.safetensors").read_bytes())
    planned(tmp_path, "null")
    with pytest.raises(ConfigError, match="cannot be split over 2 GPUs: transformers does not know which"):
        planned(tmp_path, "null", two)
