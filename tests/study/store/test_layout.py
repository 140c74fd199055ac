"""Paths are made from values and taken apart into them again."""

from __future__ import annotations

import hashlib

from study.store.layout import (
    ENDED,
    OPEN,
    adapter_folder,
    adapter_in,
    failure_file,
    given_folder,
    is_as_named,
    is_given,
    model_in,
    new_part,
    rows_in,
    swap_file,
    swap_in,
    unit_in,
)


def test_a_folder_says_what_it_is_of() -> None:
    trained, given = adapter_folder("m-1", "existing", "en", 17, "0a"), given_folder("m-1", "a-b", "0b")
    assert [adapter_in(folder) for folder in (trained, given)] == ["0a", "0b"]
    assert [model_in(folder) for folder in (trained, given)] == ["m-1", "m-1"]
    assert [is_given(folder) for folder in (trained, given)] == [False, True]
    assert unit_in(failure_file("0c")) == "0c"


def test_the_name_of_a_part_states_its_content() -> None:
    name = new_part("results/items", b"rows")
    assert name.startswith("results/items/2")
    assert name.endswith(f"-{hashlib.sha256(b'rows').hexdigest()[:16]}.parquet")
    assert name != new_part("results/items", b"rows")
    assert is_as_named(name, b"rows")
    assert not is_as_named(name, b"others")
    assert is_as_named("results/items/20250101T000000-0123456789ab.parquet", b"of an older release")
    assert rows_in(name) is None
    large = new_part("results/items", b"rows", 42)
    assert rows_in(large) == 42
    assert is_as_named(large, b"rows")
    assert not is_as_named(large, b"others")


def test_a_swap_has_a_number() -> None:
    assert [swap_in(swap_file(7, ending)) for ending in (OPEN, ENDED)] == [7, 7]
    assert swap_in("swaps/notes.txt") == 0
