"""A store in a bucket: moto's S3 server in a process of its own, a proxy before it that counts and breaks requests."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import analysis
from study import pulse
from study.audit.audit import Audit
from study.check import main
from study.config import StudyConfig
from study.errors import ConfigError, StoreRefused
from study.store import schema
from study.store.compaction import compact
from study.store.filesystem import open_uri
from study.store.layout import OPEN, SCORES_INDEX, STUDY_FILE, adapter_folder
from study.store.lease import Lease, holder
from study.store.parquet import sought
from study.store.store import Store
from tests.support.buckets import BUCKET, Proxy, proxy, replaced_after_it_is_opened, s3_server
from tests.support.rows import done_scores, item_row, record_text, score_row
from tests.support.synth import Shape, write_store


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with s3_server() as port:
        yield port


@pytest.fixture(scope="module")
def counted(server: int) -> Iterator[Proxy]:
    with proxy(server) as found:
        yield found


@pytest.fixture(autouse=True)
def _surroundings(counted: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in counted.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is tried twice."""
    monkeypatch.setattr("study.store.filesystem.open_uri.__defaults__", (2, False))


def fill(store: Store, start: int, count: int) -> None:
    """As many adapters (their records alone) and parts of scores."""

    def unit(i: int) -> None:
        where = adapter_folder("m", "t", "en", i, f"{i:016x}")
        record = record_text(f"{i:016x}", seconds=float(i))
        store.write(f"{where}/record.json", record)
        store.append([], [score_row(f"s{i}")])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(unit, range(start, start + count)))


def driver_starts(uri: str) -> tuple[dict[str, str], set[str], int]:
    """What a driver asks of a store when it starts, runs and ends."""
    store = Store(uri)
    store.write_indexes()
    adapters, done, failed = store.trained(), done_scores(store), store.failed()
    assert store.records().keys() == adapters.keys()
    store.write_indexes()
    return adapters, done, len(failed)


def test_a_finished_study_is_read_with_a_handful_of_requests(counted: Proxy) -> None:
    uri = f"s3://{BUCKET}/counted"
    totals = {}
    written = 0
    for size in (66, 132):  # twice the study
        fill(Store(uri), written, size - written)
        written = size
        driver_starts(uri)
        counted.counts()
        adapters, done, _ = driver_starts(uri)
        assert len(adapters) == len(done) == size
        totals[size] = counted.counts()
    assert totals[66] == totals[132]
    assert sum(totals[132].values()) < 40, totals


def test_writing_a_unit_is_one_put_a_file_in_a_large_study_too(counted: Proxy) -> None:
    store = Store(f"s3://{BUCKET}/counted")
    store.check_reachable()
    counted.counts()
    fill(store, 1000, 1)
    assert counted.counts() == {"PUT": 2}


def test_an_index_never_hides_what_the_files_say(tmp_path: Path) -> None:
    for uri in (f"s3://{BUCKET}/index", str(tmp_path / "store")):
        store = Store(uri)
        fill(store, 0, 70)
        store.write_indexes()
        assert Store(uri).files("index", ".parquet", recursive=True)
        fill(store, 70, 2)  # not in it
        gone = store.files("results/scores", ".parquet")[0]
        store.delete(gone)
        where = adapter_folder("m", "t", "en", 1, f"{1:016x}")
        changed = json.loads(store.read(f"{where}/record.json")) | {"seconds": 12345.0}
        store.write(f"{where}/record.json", json.dumps(changed).encode())
        fresh = Store(uri)
        assert len(done_scores(fresh)) == 71
        assert fresh.scores().num_rows == 71
        assert len(fresh.records()) == 72
        assert fresh.records()[f"{1:016x}"].course.seconds == 12345.0
        assert not [problem for problem in Audit(fresh).run().problems if problem.file.startswith("index/")]
        rows = fresh.scores().sort_by("score_id")
        for segment in store.files("index", ".parquet", recursive=True):
            store.write(segment, store.read(segment)[:-9])  # no writer leaves such a file
        assert Store(uri).scores().sort_by("score_id").equals(rows)
        damaged = [problem for problem in Audit(store).run().problems if problem.file.startswith("index/")]
        assert len(damaged) == len(store.files("index", ".parquet", recursive=True)) == 2
        for problem in damaged:
            assert problem.repair is not None
            problem.repair()
        assert not store.files("index", ".parquet", recursive=True)
        assert Store(uri).scores().sort_by("score_id").equals(rows)


def test_a_study_is_opened_in_a_bucket_as_on_a_disk(tmp_path: Path) -> None:
    there, here = f"s3://{BUCKET}/opened", tmp_path / "store"
    store, shape = write_store(here, Shape(items=4)), Shape(items=4)
    for name in store.files("", "", recursive=True):
        Store(there).write(name, store.read(name))
    ours, theirs = analysis.open(here), analysis.open(there)
    query = pl.col("kind") == "base"
    order = ["score_id", "doc_id"]
    assert_frame_equal(*(one.items.filter(query).sort(order).collect() for one in (ours, theirs)))
    assert ours.items.collect().height == (2 * 6 + 1) * 6 * shape.items
    assert_frame_equal(ours.scores, theirs.scores, check_row_order=False)
    assert_frame_equal(ours.transfer, theirs.transfer)
    with pytest.raises(ConfigError, match="holds no study"):
        analysis.open(f"s3://{BUCKET}/nowhere")


def test_an_index_grows_without_being_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments hold at most 100 files here; small ones become part of the next."""
    monkeypatch.setattr("study.store.index.MOST_FILES", 100)
    store, seen, written = Store(str(tmp_path / "store")), set[str](), 0
    for size, segments in ((70, 1), (140, 2), (147, 2), (220, 3), (620, 7)):
        fill(store, written, size - written)
        written = size
        store.write_indexes()
        names = set(store.files(SCORES_INDEX, ".parquet"))
        assert len(names) == segments, size
        whole = {name for name in names if len(pq.read_table(store.path(name))) == 100}
        assert seen <= names  # what was full is still there
        seen = whole
        table = store.scores()
        assert table.num_rows == size
        assert done_scores(store) == {f"s{i}" for i in range(size)}
        assert sum(batch.num_rows for batch in store.scored()) == size
    store.delete(store.files("results/scores", ".parquet")[5])
    assert len(done_scores(store)) == 619


def test_throttling_server_errors_and_resets_lose_nothing(
    server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request in five fails."""
    with proxy(server, share=0.2, seed=7) as faulty:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.environment["AWS_ENDPOINT_URL"])
        faulty.slow_listings(0.1)
        uri = f"s3://{BUCKET}/faulty"
        fill(Store(uri), 0, 66)
        adapters, done, _ = driver_starts(uri)
        assert len(adapters) == len(done) == 66
        assert len(Store(uri).scores()) == 66
        assert {"503 SlowDown", "500 InternalError", "reset before", "reset after"} <= faulty.counts().keys()


def test_a_compacted_bucket_is_the_same_and_asks_for_less(
    counted: Proxy, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compacted while one request in ten fails, and goes on where deleting failed too often."""
    store, size = Store(f"s3://{BUCKET}/compacted"), 90
    fill(store, 0, size)
    before = store.scores().sort_by("score_id")
    with proxy(server, share=0.1, seed=3) as faulty:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.environment["AWS_ENDPOINT_URL"])
        again = Store(store.uri)
        while again.files("swaps", OPEN) or len(again.files("results/scores", "")) > 1:
            with contextlib.suppress(OSError):
                compact(again, lambda _: None)
            assert again.scores().sort_by("score_id").equals(before)
        assert {"503 SlowDown", "reset after"} <= faulty.counts().keys()
    monkeypatch.setenv("AWS_ENDPOINT_URL", counted.environment["AWS_ENDPOINT_URL"])
    assert len(store.files("results/scores", "")) == 1
    counted.counts()
    assert sum(batch.num_rows for batch in Store(store.uri).scored()) == size
    asked = counted.counts()
    assert asked["LIST"] == 3
    assert asked["GET"] <= 4


@pytest.mark.parametrize("refused", ["?uploads", "partNumber=2", "uploadId="])
@pytest.mark.usefixtures("impatient")
def test_an_upload_that_is_refused_publishes_nothing(
    server: int, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Of what is too large for one put: its beginning, a part of it, or each request after the first."""
    with proxy(server) as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.environment["AWS_ENDPOINT_URL"])
        store, before, after = Store(f"s3://{BUCKET}/large{len(refused)}"), b"a" * (11 << 20), b"b" * (23 << 20)
        store.write("file", before)
        own.deny(503, "SlowDown", refused)
        for name in ("file", "other"):
            with pytest.raises(OSError, match="SLOW_DOWN"):
                store.write(name, after)
        gc.collect()  # pyarrow closes a stream also when it is forgotten
        own.deny(503, "", "")
        assert store.read("file") == before
        assert not store.exists("other")
        store.write("other", after)
        assert store.read("other") == after


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ExpiredToken"), (400, "RequestExpired"), (403, "AccessDenied"), (403, "RequestTimeTooSkewed")],
)
@pytest.mark.usefixtures("impatient")
def test_credentials_that_end_meanwhile_are_no_passing_trouble(counted: Proxy, status: int, code: str) -> None:
    store = Store(f"s3://{BUCKET}/refused")
    store.write("file", b"1")
    counted.deny(status, code, "/refused/")
    try:
        with pytest.raises(StoreRefused, match="refuses to be used"):
            store.write("file", b"2")
        if status == 403:  # else a HEAD request's answer has no body, and so no code
            for use in (store.read, store.exists, store.opened, store.delete):
                with pytest.raises(StoreRefused, match="refuses to be used"):
                    use("file")
    finally:
        counted.deny(403, "", "")
    assert store.read("file") == b"1"


@pytest.mark.parametrize(("status", "code"), [(507, "XMinioStorageFull"), (403, "QuotaExceeded")])
@pytest.mark.usefixtures("impatient")
def test_a_bucket_that_is_full_is_like_a_disk_that_is(counted: Proxy, status: int, code: str) -> None:
    store = Store(f"s3://{BUCKET}/no-room")
    counted.deny(status, code, "/no-room/")
    try:
        with pytest.raises(StoreRefused) as full:
            store.write("file", b"2")
    finally:
        counted.deny(403, "", "")
    assert full.value.errno == errno.ENOSPC


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("part", ["results/scores/", "results/items/", "/record.json", "study.yaml", "grid.parquet"])
def test_a_check_takes_what_it_cannot_read_for_no_damage(
    server: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    with proxy(server) as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.environment["AWS_ENDPOINT_URL"])
        store = Store(f"s3://{BUCKET}/check{part.replace('/', '-')}")
        store.write(STUDY_FILE, b"config: {}")
        store.write_grid(schema.SUBJECTS.empty_table(), schema.TARGETS.empty_table())
        store.write(
            f"{adapter_folder('m', 't', 'en', 1, 'a1')}/record.json",
            record_text("a1"),
        )
        store.append([item_row("s1", 0)], [score_row("s1", n_items=1)])
        before = store.files("", "", recursive=True)
        own.deny(503, "SlowDown", next(file for file in before if part in f"/{file}"))
        assert main([store.uri, "--repair"]) == 2
        own.deny(503, "", "")
        assert "The check ended there" in capsys.readouterr().err
        assert [file for file in store.files("", "", recursive=True) if not file.startswith("lease/")] == before


def test_a_large_file_is_read_with_one_request_and_is_of_one_version(counted: Proxy) -> None:
    store, data = Store(f"s3://{BUCKET}/versions"), os.urandom(3 << 20)
    store.write("large", data)
    counted.counts()
    assert store.read("large") == data
    assert counted.counts() == {"HEAD": 2, "GET": 1}
    for old, new in ((b"old", b"newer" * 100), (b"older" * 100, b"new")):
        store.write("file", old)
        replaced_after_it_is_opened(store, lambda new=new: Store(store.uri).write("file", new))  # type: ignore[misc]
        assert store.read("file") == new


def test_columns_of_what_has_gone_since_it_was_opened_are_asked_for_elsewhere() -> None:
    """A large part that has become part of another, or a segment of an index that was renewed."""
    store = Store(f"s3://{BUCKET}/gone")
    store.append([], [score_row(f"s{i}") for i in range(50)])
    (file,) = store.files("results/scores", ".parquet")
    opened = sought(store, file)
    store.delete(file)
    with pytest.raises(FileNotFoundError, match=file):
        opened.read(columns=["score_id"])


def test_a_file_that_comes_in_pieces_says_each_and_is_of_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.store.pieces.PIECE", 1 << 20)
    monkeypatch.setattr("study.pulse._listeners", [])
    data, other, heard = os.urandom((3 << 20) + 1), os.urandom((3 << 20) + 1), list[str | None]()
    for uri in (f"s3://{BUCKET}/pieces", str(tmp_path / "store")):
        store = Store(uri)
        store.write("large", data)
        pulse.listen(lambda stage, _: heard.append(stage))
        assert store.read("large") == data
        assert len(heard) == 4
        assert store.read_start("large", 1 << 20) == data[: 1 << 20]
        heard.clear()
        if not store.is_local:
            replaced_after_it_is_opened(store, partial(Store(uri).write, "large", other))
            assert store.read("large") == other
        pulse.listen(lambda *_: None)
        heard.clear()


def test_a_signal_in_the_middle_of_a_write_publishes_all_or_nothing() -> None:
    """An exception raised by a handler while a file is being put does not close it half-written."""

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    store, data = Store(f"s3://{BUCKET}/signals"), b"x" * (6 << 20)
    store.check_writable()
    before = signal.signal(signal.SIGALRM, stop)
    try:
        for i in range(8):
            signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.01 * i)
            with contextlib.suppress(Stop):
                store.write(f"file{i}", data)
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    time.sleep(1)  # writes that were left alone end
    found = store.files("", "")
    assert found
    assert all(len(store.read(name)) == len(data) for name in found if name.startswith("file"))


@pytest.mark.parametrize(
    ("status", "code", "says", "fix"),
    [
        (403, "AccessDenied", "no credentials", "AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "credentials", "AWS_PROFILE"),
        (301, "PermanentRedirect", "another region", "region="),
    ],
)
def test_what_is_wrong_is_said_at_once(counted: Proxy, status: int, code: str, says: str, fix: str) -> None:
    counted.deny(status, code, f"/{BUCKET}/denied")
    try:
        store = Store(f"s3://{BUCKET}/denied")
        for check in (store.check_reachable, store.check_writable):
            with pytest.raises(ConfigError) as caught:
                check()
            assert says in caught.value.problem
            assert "AWS_" in caught.value.fix or fix in caught.value.fix
    finally:
        counted.deny(403, "", "")


def test_a_bucket_that_is_not_there_and_a_server_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such bucket"):
        Store("s3://nowhere-at-all/x").check_writable()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="cannot be reached"):
        Store(f"s3://{BUCKET}/x").check_reachable()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3://id:hush@bucket/x", "holds credentials"),
        ("s3://bucket/x?secret_key=hush", "holds credentials"),
        ("abfss://c@account/x?client_secret=hush", "holds credentials"),
        ("s3://bucket/x?regoin=eu", "unknown parameter"),
        ("ftp://bucket/x", "no kind we know"),
        ("s3:///x", "names no bucket"),
    ],
)
def test_uris_that_are_wrong(uri: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_uri(uri)
    assert "hush" not in str(caught.value)


def test_an_endpoint_can_stand_in_the_uri(counted: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    store = Store(f"s3://{BUCKET}/uri?endpoint_override=127.0.0.1:{counted.port}&scheme=http&region=eu-west-1")
    store.write("a", b"1")
    assert store.files("", "") == ["a"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", counted.environment["AWS_ENDPOINT_URL"])
    assert Store(f"s3://{BUCKET}/uri").read("a") == b"1"
    assert StudyConfig.model_fields["store"].annotation is str


def test_of_two_drivers_that_want_a_bucket_at_once_one_gets_it(counted: Proxy) -> None:
    """No conditional put there: both write, wait, and read back whose it is."""
    store = Store(f"s3://{BUCKET}/contended")
    start, outcome = threading.Barrier(2), []

    def want() -> None:
        start.wait()
        try:
            with Lease(store, outcome.append):
                outcome.append("held")
                start.wait()  # until the other one has been told
        except ConfigError as error:
            outcome.append(str(error))
            start.wait()

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    refused = next(told for told in outcome if told != "held")
    assert sorted(outcome) == sorted(["held", refused])
    assert "is held by" in refused
    assert holder(store) is None  # given back


def test_a_driver_whose_bucket_was_taken_over_is_told(counted: Proxy) -> None:
    """Its hold had run out, its machine asleep say, and another one came."""
    store, lost = Store(f"s3://{BUCKET}/taken"), queue.SimpleQueue[str]()
    with Lease(store, lost.put, hold_s=0.5, renew_s=3), Lease(store, _never):
        assert "has taken the store over" in lost.get(timeout=30)
        assert holder(store) is not None


def _never(_: str) -> None:
    raise AssertionError("the lease was lost")
