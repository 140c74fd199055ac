"""Adapters that exist already: what names them, and what is said of one that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from study.config.file import parse
from study.errors import ConfigError
from study.models.given import FILES, put_into, resolve_existing
from study.models.resolve import Model
from study.store.store import Store
from study.units import GivenAdapter

MODEL = Model("m", "m", None, "identity", "float32", "m", 1.0, 10, False, ())


def resolve(*entries: dict[str, Any], model: Model = MODEL) -> list[GivenAdapter]:
    text = "models: [{id: org/m}]\nlanguages: [en]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]\nsources: []\n"
    return resolve_existing(parse(text + "adapters: " + json.dumps(entries)), [model])


def adapter(folder: Path, weights: float = 0.0, **changes: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / FILES[0]).write_bytes(save({"a": np.full(3, weights)}))
    (folder / FILES[1]).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
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
    (tmp_path / "a" / FILES[0]).unlink()
    put_into(store, found)
    assert store.read(f"{found.folder}/{FILES[0]}") == save({"a": np.zeros(3)})
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
    (tmp_path / "a" / FILES[1]).write_text("{}")
    with pytest.raises(ConfigError, match="peft_type is null"):
        resolve(entry)
    (tmp_path / "a" / FILES[0]).rename(tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(ConfigError, match="pickled"):
        resolve(entry)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lora_alpha": None}, "lora_alpha is null, not a number"),
        ({"r": "4"}, 'r is "4", not a whole number from 1 on'),
        ({"r": 0}, "r is 0, not a whole number"),
        ({"r": True}, "r is true, not a whole number"),
        ({"rank_pattern": {"q_proj": 0}}, "q_proj is 0, not a whole number"),
        ({"alpha_pattern": [1]}, r"alpha_pattern is \[1\], not a mapping"),
        ({"target_modules": [1]}, r"target_modules is \[1\], neither a text nor a list"),
        ({"peft_type": "POLY"}, "peft_type is POLY, which wants to be told a task's number"),
        ({"peft_type": "XLORA"}, "peft_type is XLORA"),
        ({"peft_type": "SHADOW"}, "peft_type is SHADOW"),
        ({"peft_type": 3}, "peft_type is 3"),
        ({"peft_type": "LORAX"}, "peft_type is LORAX, which the installed PEFT does not know"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_in_a_line(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    entry = adapter(tmp_path / "a")
    config = tmp_path / "a" / FILES[1]
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


def test_weights_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    entry = adapter(tmp_path / "a")
    weights = tmp_path / "a" / FILES[0]
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ConfigError, match=r"adapters\[0\].path = "):
        resolve(entry)


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
