"""A whole study in a bucket, through a proxy that breaks requests: training, scoring, a killed driver, the report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from analysis.page import files
from analysis.reading.study import load_store
from orchestrator import status
from study.errors import ConfigError
from study.store.store import Store
from tests.support.buckets import BUCKET, Proxy, proxy, s3_server
from tests.support.rows import done_scores
from tests.support.tiny_models import make_model
from tests.support.tiny_world import make_config, make_tasks, start, sweep_apart, wait_until

TASKS, LANGUAGES = ["next", "skip"], ["xx", "yy"]
URI = f"s3://{BUCKET}/study"


@pytest.fixture(scope="module")
def faulty() -> Iterator[Proxy]:
    """One request in twenty is throttled, fails or is cut off, and listings are slow."""
    with s3_server() as port, proxy(port, share=0.05, seed=11) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        found.slow_listings(0.2)
        yield found


def test_a_study_in_a_bucket_survives_faults_and_a_killed_driver(
    faulty: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(tmp_path / "tiny", spread=0.2)
    tasks = make_tasks(tmp_path / "tasks", TASKS, LANGUAGES)
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks, store=URI)
    store = Store(URI)
    with pytest.raises(ConfigError, match="holds no study"):
        files.write(load_store(URI), tmp_path / "report")
    with start(config) as driver:
        wait_until(store.trained, driver)
        driver.kill()
    time.sleep(2)  # the cluster notices and ends
    trained = {name: record.written_at for name, record in store.records().items()}
    scored = done_scores(store)
    assert len(scored) < 20
    done = sweep_apart(config)
    assert done.returncode == 0, done.stdout + done.stderr
    after = {name: record.written_at for name, record in store.records().items()}
    assert len(after) == 4
    assert {name: after[name] for name in trained} == trained  # no finished adapter was trained again
    rows = pl.DataFrame(pl.from_arrow(Store(URI).scores()))
    counts = dict(rows.group_by("score_id").len().iter_rows())
    assert len(counts) == 20
    assert all(counts[score_id] == 2 for score_id in scored)  # acc and acc_norm, once
    items = pl.DataFrame(pl.from_arrow(store.items())).unique(["score_id", "doc_id"])
    assert items.height == 20 * 12
    assert not store.failures()
    assert {"503 SlowDown", "500 InternalError", "reset before", "reset after"} & faulty.counts().keys()

    assert status.main([URI]) == 0
    told = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["tiny", "adapters", "4", "0", "0", "0", "0.000"] in told  # done, stale, failed, to do; hours left
    assert ["scores", "20", "0", "0", "0"] in told
    files.write(load_store(URI), tmp_path / "report")
    assert (tmp_path / "report" / "index.html").stat().st_size > 0
    assert "hush-hush" not in "".join(store.read(name).decode("latin1") for name in store.files("", "", recursive=True))
