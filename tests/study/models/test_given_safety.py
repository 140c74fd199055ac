"""Folders of strangers' adapters: links that lead out of them, and patterns that never end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study.models.given_safety import link_out_of, slow_pattern
from study.store.checksums import changed, note
from study.store.layout import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from study.store.store import Store

SLOW = ["(a+)+$", "(a|b+)*c", "(.*a){12}", ".*.*.*x", r"(\w+\.)*x", r"(?:x{0,99}y?)+z", r"(.+)\1+x", "x" * 501, "("]
SLOW += ["(a|aa)+$", "(.|..|...)+X", "(.{1,3})+X", r"(\w?\w?)*X", "(?>(a+)+x)", "(b)?(?(1)(a+)+x|c)", ".?" * 60 + "x"]
SLOW += ["(?:(?:a*)*){0}(.+)+X", "(?:(.{1,3}){16}){16}x", "(?:(?=)){2000000000}", "(?!(a+)+x)"]
FINE = [
    "q_proj",
    r"(model\.)?layers\.\d{1,2}\.mlp\.(up|down)_proj",
    r"^(?!.*vision)(.*)proj",
    "all-linear",
    r"layers\.\d+\.q_proj",
    r"model\.layers\.([0-9]|1[0-9])\..*(q|v)_proj",
    ".*attn.*",
]


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_stalls_everything_is_refused(pattern: str) -> None:
    """PEFT matches it with each module's name: `(a+)+$` held the planner and every evaluator for ever."""
    for key in ("rank", "alpha", "n_frequency", "block_size", "lambda"):
        assert "pattern" in str(slow_pattern({f"{key}_pattern": {"x": 1, pattern: 4}}))
    for key in ("target_modules", "feedforward_modules"):
        assert "pattern" in str(slow_pattern({key: pattern}))
    assert slow_pattern({"layers_pattern": ["x", pattern]}) is not None


@pytest.mark.parametrize("pattern", FINE)
def test_patterns_that_adapters_have_are_taken(pattern: str) -> None:
    assert slow_pattern({"rank_pattern": {pattern: 4}, "target_modules": pattern, "exclude_modules": None}) is None
    assert slow_pattern({"rank_pattern": {rf".*\.layers\.\d+\.{name}": 4 for name in range(500)}}) is None
    re.match(rf"(.*\.)?({pattern})$", "model.layers.1.self_attn.q_proj" * 20)


def test_a_link_out_of_the_folder_is_named(tmp_path: Path) -> None:
    """`adapter_model.safetensors -> ~/.ray/auth_token` was copied into the store."""
    folder, secret = tmp_path / "a", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("x")
    (folder / "own.json").write_text("{}")
    (folder / "adapter_config.json").symlink_to(folder / "own.json")
    assert link_out_of(folder) is None
    (folder / "adapter_model.safetensors").symlink_to(secret)
    assert link_out_of(folder) == "adapter_model.safetensors"


def test_the_hubs_cache_links_within_itself(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    blob = snapshot.parent.parent / "blobs" / "x"
    blob.parent.mkdir()
    blob.write_text("x")
    (snapshot / "adapter_model.safetensors").symlink_to(blob)
    assert link_out_of(snapshot) is None


def test_a_folder_called_as_the_hubs_are_is_none_of_its_cache(tmp_path: Path) -> None:
    """`snapshots/adapter` was taken for the cache's, and all that lay beside `snapshots` for its blobs."""
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    for folder in (tmp_path / "snapshots" / "a", tmp_path / "models--a--b" / "snapshots" / "c0ffee"):
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").symlink_to(secret)
        assert link_out_of(folder) == "adapter_config.json"
    beside = tmp_path / "models--a--b" / "refs.json"
    beside.write_text("{}")
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_config.json").symlink_to(beside)
    assert link_out_of(folder) == "adapter_config.json"


@pytest.fixture
def copied(tmp_path: Path) -> Store:
    """A store with an adapter that has a tokenizer of its own, whose checksums an older run has noted in part."""
    store = Store(str(tmp_path))
    for name in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE):
        store.write(f"f/{name}", b"{}")
    assert changed(store, "f") is None
    note(store, "f", (WEIGHTS_FILE, CONFIG_FILE))
    note(store, "f", (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE))
    assert changed(store, "f") is None
    return store


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE])
def test_what_was_copied_is_known_again(name: str, copied: Store) -> None:
    """An adapter that was changed in the store was taken for whole, if only it could be read."""
    copied.write(f"f/{name}", b"[]")
    note(copied, "f", (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE))
    assert changed(copied, "f") == name
    copied.delete(f"f/{name}")
    assert changed(copied, "f") == name


def test_what_was_put_beside_it_is_found(copied: Store) -> None:
    copied.write("f/tokenizer_config.json", b"{}")
    assert changed(copied, "f") == "tokenizer_config.json"
