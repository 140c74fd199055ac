"""Whatever reading a store raises becomes one error that says what to do."""

from __future__ import annotations

import errno
import time
from socket import socket

import pytest

from study.errors import ConfigError, StoreRefused
from study.store.contents import Damaged
from study.store.filesystem import open_uri, trouble
from study.store.readable import no_study, readable
from study.store.schema import OtherVersion


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OtherVersion("old: use that release"), ("is of another release", "old: use that release; or leave it out")),
        (Damaged("grid.parquet: cut"), ("holds a damaged file (grid.parquet: cut)", "python -m study.check s")),
        (OSError("no route"), ("cannot be read or written (no route)", "name a folder or bucket you may use")),
        (StoreRefused(errno.EACCES, "no"), ("cannot be read or written (no)", "name a folder or bucket")),
        (trouble("s", OSError("gone")), ("cannot be read or written (gone)", "name a folder or bucket")),
        (no_study("STORE", "s"), ("holds no study", "name the `store` of a config that was run before")),
    ],
)
def test_each_is_told_under_the_key_that_names_the_store(raised: Exception, said: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught, readable("STORE", "s", otherwise="; or leave it out"):
        raise raised
    assert (caught.value.key, caught.value.value, caught.value.problem) == ("STORE", "s", said[0])
    assert caught.value.fix.startswith(said[1])


def test_a_caller_may_know_better() -> None:
    with pytest.raises(ConfigError, match="STORE = 's': no route\n  fix: name another"):  # noqa: SIM117
        with readable("STORE", "s", fix="name another"):
            raise OSError("no route")
    with pytest.raises(StoreRefused), readable("store", "s", refusals=False):
        raise StoreRefused(errno.ENOSPC, "full")
    with pytest.raises(ConfigError, match="--price"), readable("STORE", "s"):  # an error about something else
        raise ConfigError("--price", 1, "is too low", "pay more")


def test_googles_storage_is_not_asked_for_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.store.filesystem.GS_SECONDS", 1)
    began = time.monotonic()
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        there = f"endpoint_override=127.0.0.1:{nobody.getsockname()[1]}&scheme=http"
        filesystem, path = open_uri(f"gs://anonymous@bucket/x?{there}")
        with pytest.raises(OSError, match="Retry policy exhausted"):
            filesystem.get_file_info(path)
    assert path == "bucket/x"
    assert time.monotonic() - began < 30
