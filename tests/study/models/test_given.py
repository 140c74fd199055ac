"""Adapters that exist already: what names them, and what is said of one that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from study.config.file import parse
from study.errors import ConfigError
from study.models.given import put_into, resolve_existing
from study.models.given_fits import check_tokenizer
from study.models.given_weights import PICKLED, as_one_file
from study.models.resolve import Model
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE
from study.store.store import Store
from study.units import GivenAdapter

NAME = "base_model.model.a"
MODEL = Model("m", "m", None, "identity", "float32", "m", 1.0, 10, False, ())


def resolve(*entries: dict[str, Any], model: Model = MODEL) -> list[GivenAdapter]:
    text = "models: [{id: org/m}]\nlanguages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]\nsources: []\n"
    return resolve_existing(parse(text + "adapters: " + json.dumps(entries)), [model])


def adapter(folder: Path, weights: float = 0.0, **changes: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(save({NAME: torch.full((3,), weights)}))
    (folder / CONFIG_FILE).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    return {"name": "a", "model": "m", "path": str(folder), **changes}


def test_files_model_and_source_name_an_adapter_and_its_place_does_not(tmp_path: Path) -> None:
    (first,) = resolve(adapter(tmp_path / "a"))
    assert first.source is None
    assert resolve(adapter(tmp_path / "b", name="b", model="org/m"))[0].adapter_id == first.adapter_id
    other = Model("m", "m", None, "another", "float32", "m", 1.0, 10, False, ())
    changed = [
        resolve(adapter(tmp_path / "c", 1.0)),
        resolve(adapter(tmp_path / "a", source="arc/de")),
        resolve(adapter(tmp_path / "a"), model=other),
    ]
    assert len({first.adapter_id, *(found.adapter_id for (found,) in changed)}) == 4


def test_its_files_go_into_the_store_once(tmp_path: Path) -> None:
    (found,) = resolve(adapter(tmp_path / "a"))
    store = Store(str(tmp_path / "store"))
    put_into(store, found)
    (tmp_path / "a" / WEIGHTS_FILE).unlink()
    put_into(store, found)
    assert store.read(f"{found.folder}/{WEIGHTS_FILE}") == save({NAME: torch.zeros(3)})
    assert store.fetch_adapter(found.folder, tmp_path).is_dir()


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"model": "x"}, "adapters[0].model", "use one of m"),
        ({"source": "arc"}, "adapters[0].source", "task/language"),
        ({"path": "./nowhere"}, "adapters[0].path", "no such folder"),
        ({"name": "../a"}, "adapters[0].name", "folder name"),
        ({"name": "b"}, "adapters[1]", "the same adapter as 'b'"),
    ],
)
def test_a_wrong_entry_is_named(changes: dict[str, Any], key: str, says: str, tmp_path: Path) -> None:
    entry = adapter(tmp_path / "a")
    with pytest.raises(ConfigError) as caught:
        resolve({**entry, **changes}, *([entry] if key == "adapters[1]" else []))
    assert caught.value.key == key
    assert says in str(caught.value)


def test_a_folder_that_holds_no_adapter_is_refused(tmp_path: Path) -> None:
    entry = adapter(tmp_path / "a")
    (tmp_path / "a" / CONFIG_FILE).write_text("{}")
    with pytest.raises(ConfigError, match="peft_type is null"):
        resolve(entry)
    (tmp_path / "a" / WEIGHTS_FILE).unlink()
    with pytest.raises(ConfigError, match=f"holds no {WEIGHTS_FILE}"):
        resolve(entry)
    (tmp_path / "a" / "adapter_model.safetensors.index.json").write_text("[]")
    with pytest.raises(ConfigError, match="lists no files"):
        resolve(entry)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lora_alpha": None}, "lora_alpha is null, not a number"),
        ({"lora_alpha": float("nan")}, "lora_alpha is NaN, not a number"),
        ({"lora_alpha": 1e40}, "lora_alpha is 1e[+]40, not a number"),
        ({"alpha_pattern": {"q_proj": float("inf")}}, "q_proj is Infinity, not a number"),
        ({"r": "4"}, 'r is "4", not a whole number from 1 on'),
        ({"r": 0}, "r is 0, not a whole number"),
        ({"r": True}, "r is true, not a whole number"),
        ({"rank_pattern": {"q_proj": 0}}, "q_proj is 0, not a whole number"),
        ({"alpha_pattern": [1]}, r"alpha_pattern is \[1\], not a mapping"),
        ({"target_modules": [1]}, r"target_modules is \[1\], neither a text nor a list"),
        ({"peft_type": "POLY"}, "peft_type is POLY, which wants to be told a task's number"),
        ({"peft_type": "XLORA"}, "peft_type is XLORA"),
        ({"peft_type": "SHADOW"}, "peft_type is SHADOW"),
        ({"peft_type": "P_TUNING", "num_virtual_tokens": 4}, "task_type is null"),
        ({"peft_type": "CPT", "task_type": "CAUSAL_LM"}, "num_virtual_tokens is null, not a whole number from 1 on"),
        ({"peft_type": 3}, "peft_type is 3"),
        ({"task_type": "FOO"}, 'task_type is "FOO", which the installed PEFT does not know'),
        ({"alora_invocation_tokens": [3]}, "activated LoRA depends on the text"),
        ({"init_lora_weights": "pissa_niter_4"}, 'init_lora_weights is "pissa_niter_4", which changes'),
        ({"peft_type": "LORAX"}, "peft_type is LORAX, which the installed PEFT does not know"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_in_a_line(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    entry = adapter(tmp_path / "a")
    config = tmp_path / "a" / CONFIG_FILE
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    with pytest.raises(ConfigError, match=says) as caught:
        resolve(entry)
    assert str(caught.value).startswith(
        f"adapters[0].path = '{tmp_path / 'a'}': its adapter_config.json cannot be used"
    )
    assert len(str(caught.value).splitlines()) == 2
    config.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve(entry)


ENDS = "base_model.model.model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("name", "rows", "counts"),
    [
        (ENDS, 12, True),
        ("base_model.model.lm_head.base_layer.weight", 9, True),
        (ENDS, 10, False),  # as many as the base has
        ("base_model.model.model.wpe.weight", 64, False),
        ("base_model.model.model.embed_tokens.lora_embedding_A", 4, False),
        ("base_model.model.model.layers.0.q_proj.lora_magnitude_vector.weight", 4, False),
    ],
)
def test_a_tokenizer_beside_counts_where_the_vocabulary_is_another(
    name: str, rows: int, counts: bool, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text('{"vocab_size": 10}')
    model = Model("m", str(tmp_path / "m"), None, "identity", "float32", "m", 1.0, 10, False, ())
    entry = adapter(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS_FILE).write_bytes(save({name: torch.zeros(rows, 4)}))
    if counts:
        with pytest.raises(ConfigError, match=f"{rows} rows, the model's 10, and no tokenizer.json lies beside"):
            resolve(entry, model=model)
    before = None if counts else resolve(entry, model=model)[0].adapter_id
    (tmp_path / "a" / "tokenizer.json").write_text("{}")
    (found,) = resolve(entry, model=model)
    assert (found.adapter_id != before) == counts
    assert found.tokenizer == (("tokenizer.json",) if counts else ())
    store = Store(str(tmp_path / "store"))
    put_into(store, found)
    assert store.exists(f"{found.folder}/tokenizer.json") == counts


A, B = "base_model.model.h.0.q_proj.lora_A.weight", "base_model.model.h.0.q_proj.lora_B.weight"
FINE = {A: (4, 8), B: (6, 4)}
PROMPT = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM"}


@pytest.fixture
def based(tmp_path: Path) -> Model:
    """A model of whose weights one is there, 6 × 8, that reads 20 tokens and knows 10."""
    folder = tmp_path / "based"
    folder.mkdir()
    (folder / "config.json").write_text('{"vocab_size": 10, "max_position_embeddings": 20}')
    (folder / "model.safetensors").write_bytes(save({"h.0.q_proj.weight": torch.zeros(6, 8)}))
    return Model("m", str(folder), None, "identity", "float32", "m", 1.0, 10, False, ())


@pytest.mark.parametrize(
    ("tensors", "changes", "says"),
    [
        (FINE, {}, ""),
        (FINE, {"target_modules": ["q_proj"]}, ""),
        (FINE, {"target_modules": r".*\.q_proj"}, ""),
        ({A: (4, 8), B: (7, 4)}, {}, ""),  # one of them fits: loading looks closer
        ({A.replace("h.0", "x"): (4, 9), B.replace("h.0", "x"): (9, 4)}, {}, ""),  # of no weight that is known by name
        (
            {A.replace("q_proj", "mlp.experts"): (8, 3), B.replace("q_proj", "mlp.experts"): (3, 8)},
            {"target_parameters": ["experts.x"]},
            "",
        ),
        (
            {A: (4, 9), B: (9, 4)},
            {},
            "made for a matrix of other size than the model's 6 × 8: it was trained on another",
        ),
        ({A: (2, 8), B: (6, 2)}, {}, "has rank 2, and its adapter_config.json says r = 4"),
        ({A: (2, 8), B: (6, 2)}, {"rank_pattern": {"q_proj": 2}}, ""),
        (FINE, {"target_modules": ["v_proj"]}, "is of no module that target_modules names"),
        (FINE, {"use_rslora": True}, ""),
        ({A.replace("h.0", "experts.3"): (4, 8), B.replace("h.0", "experts.3"): (6, 4)}, {}, ""),
        (
            {A.replace("h.0", "experts.3"): (4, 8), B.replace("h.0", "experts.3"): (6, 4)},
            {"use_rslora": True},
            "is of a single expert and scaled by use_rslora",
        ),
        ({A: (4, 8)}, {}, "lora_A.weight is without lora_B"),
        ({B: (6, 4)}, {}, "lora_B.weight is without lora_A"),
        ({}, {}, "its weights hold nothing"),
        ({"h.0.q_proj.lora_A.weight": (4, 8)}, {}, "does not begin with base_model.model."),
        ({"prompt_embeddings": (4, 8)}, {**PROMPT, "num_virtual_tokens": 4}, ""),
        (
            {"prompt_embeddings": (4, 8), "x": (1,)},
            {**PROMPT, "num_virtual_tokens": 4},
            "and not prompt_embeddings alone",
        ),
        ({"prompt_embeddings": (20, 8)}, {**PROMPT, "num_virtual_tokens": 20}, "leave no room for a text"),
        (
            {"prompt_embeddings": (4, 8)},
            {**PROMPT, "num_virtual_tokens": 9},
            "hold 4 virtual tokens, and its .* says 9",
        ),
    ],
)
def test_what_headers_tell_is_told_before_anything_starts(
    tensors: dict[str, tuple[int, ...]], changes: dict[str, Any], says: str, based: Model, tmp_path: Path
) -> None:
    entry = adapter(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS_FILE).write_bytes(save({name: torch.zeros(shape) for name, shape in tensors.items()}))
    config = tmp_path / "a" / CONFIG_FILE
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    if not says:
        assert resolve(entry, model=based)
        return
    with pytest.raises(ConfigError, match=says) as caught:
        resolve(entry, model=based)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("tokenizer", "chat", "says"),
    [
        ({"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": "b"}]}, False, ""),
        ({"model": {"vocab": {str(number): number for number in range(13)}}}, False, "13 tokens, and its embedding 12"),
        ({}, True, "its tokenizer has no chat template"),
        (None, False, "its tokenizer.json cannot be read"),
    ],
)
def test_a_tokenizer_of_its_own_is_looked_at_before_anything_starts(
    tokenizer: dict[str, Any] | None, chat: bool, says: str, based: Model, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text("{" if tokenizer is None else json.dumps(tokenizer))
    own = {ENDS: (12, 8)}
    if not says:
        check_tokenizer(tmp_path, own, 10, chat)
        return
    with pytest.raises(ValueError, match=says):
        check_tokenizer(tmp_path, own, 10, chat)


def test_weights_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    entry = adapter(tmp_path / "a")
    weights = tmp_path / "a" / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ConfigError, match=r"adapters\[0\].path = "):
        resolve(entry)


MATRICES = {f"base_model.model.{name}.lora_{half}.weight": torch.ones(4, 4) for name in "pq" for half in "AB"}


def _pickled(folder: Path) -> None:
    torch.save(MATRICES, folder / "adapter_model.bin")


def _in_parts(folder: Path) -> None:
    parts = {name: f"adapter_model-{number}.safetensors" for number, name in enumerate(MATRICES)}
    for name, part in parts.items():
        (folder / part).write_bytes(save({name: MATRICES[name]}))
    (folder / "adapter_model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def _by_other_names(folder: Path) -> None:
    renamed = {
        name.replace("base_model.model.", "base_model.model._orig_mod.").replace(".weight", ".default.weight"): matrix
        for name, matrix in MATRICES.items()
    }
    (folder / WEIGHTS_FILE).write_bytes(save(renamed))


@pytest.mark.parametrize(
    ("stated", "pefts"),
    [
        ("q.lora_A.default.weight", "q.lora_A.weight"),
        ("q.lora_B.default.bias", "q.lora_B.bias"),
        ("embed.lora_embedding_A.default", "embed.lora_embedding_A"),
        ("q.lora_magnitude_vector.default", "q.lora_magnitude_vector"),
        ("q.lora_magnitude_vector.default.weight", "q.lora_magnitude_vector"),
        ("q.ia3_l.default", "q.ia3_l"),
        ("lm_head.modules_to_save.default.weight", "lm_head.weight"),
        ("score.modules_to_save.default.out.bias", "score.out.bias"),
        ("embed.token_adapter.trainable_tokens_delta.default", "embed.token_adapter.trainable_tokens_delta"),
        ("default.lora_A.weight", "default.lora_A.weight"),
    ],
)
def test_names_of_a_models_own_state_become_pefts(stated: str, pefts: str, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).write_bytes(save({f"base_model.model.{stated}": torch.ones(2, 2)}))
    assert load(as_one_file(tmp_path)).keys() == {f"base_model.model.{pefts}"}


def test_pickled_tensors_that_share_their_numbers_are_written_each(tmp_path: Path) -> None:
    tied = torch.ones(4, 4)
    torch.save({"base_model.model.embed.weight": tied, "base_model.model.lm_head.weight": tied}, tmp_path / PICKLED)
    assert all(torch.equal(matrix, tied) for matrix in load(as_one_file(tmp_path)).values())


@pytest.mark.parametrize("write", [_pickled, _in_parts, _by_other_names])
def test_weights_in_other_files_or_by_other_names_stand_in_the_store_as_pefts(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    entry = adapter(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS_FILE).unlink()
    write(tmp_path / "a")
    (found,) = resolve(entry)
    store = Store(str(tmp_path / "store"))
    put_into(store, found)
    held = load(store.read(f"{found.folder}/{WEIGHTS_FILE}"))
    assert held.keys() == MATRICES.keys()
    assert all(torch.equal(matrix, MATRICES[name]) for name, matrix in held.items())


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this ran",))


def test_code_in_pickled_weights_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = adapter(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS_FILE).unlink()
    torch.save({"x": _Code()}, tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(ConfigError, match="without running code"):
        resolve(entry)
    assert "this ran" not in capsys.readouterr().out


def test_the_hub_is_asked_where_the_path_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    adapter(tmp_path / "cache")
    asked = []

    def download(repository: str, **rest: Any) -> str:
        asked.append((repository, rest["revision"]))
        return str(tmp_path / "cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    entry = {"name": "a", "model": "m", "path": "org/lora", "revision": "v2"}
    assert resolve(entry)[0].adapter_id == resolve(adapter(tmp_path / "a"))[0].adapter_id
    assert asked == [("org/lora", "v2")]
