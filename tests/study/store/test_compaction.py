"""Compaction: the same rows in fewer files, whoever reads them and wherever it is cut short."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.prepare import tidy
from study.audit.audit import Audit
from study.check import main
from study.store import compaction
from study.store.compaction import compact, is_due, settle
from study.store.files import File
from study.store.layout import ENDED, ITEMS, OPEN, SCORES, STUDY_FILE, SWAPS, is_as_named, rows_in
from study.store.lease import Lease
from study.store.lost import LeaseLost
from study.store.parts import Swap, by_size, current
from study.store.store import Store
from tests.support.rows import item_row, score_row

UNITS, DOCS = 12, 5


def at_once(_: float) -> None:
    """Nobody is given time to read what was listed."""


def append(store: Store, number: int) -> None:
    """The rows of a unit: of one of two models, every third time of a base, on one of three targets."""
    base, model = number % 3 == 0, f"m{number % 2}"
    about = {
        "model": model,
        "adapter_id": None if base else f"a{number}",
        "target_language": ("de", "en", "fr")[number % 3],
    }
    name = f"s{number}"
    store.append(
        [{**item_row(name, doc), **about} for doc in range(DOCS)],
        [{**score_row(name, n_items=DOCS), **about, "metric": metric} for metric in ("acc", "acc_norm")],
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "store"))
    store.write(STUDY_FILE, b"config: {}")
    for number in range(UNITS):
        append(store, number)
    return store


def rows(store: Store) -> tuple[pa.Table, pa.Table]:
    """All score and item rows, in an order of their own."""
    return store.scores().sort_by([("score_id", "ascending"), ("metric", "ascending")]), store.items().sort_by(
        [("score_id", "ascending"), ("doc_id", "ascending")]
    )


def sizes(store: Store, folder: str) -> tuple[int, int]:
    """How many large parts and others count."""
    large, small = by_size(current(store, folder))
    return len(large), len(small)


def test_the_same_rows_lie_in_few_files_by_model_and_target(store: Store) -> None:
    before = rows(store)
    schemas = {folder: pq.read_schema(store.path(store.files(folder, "")[0])) for folder in (ITEMS, SCORES)}
    assert compact(store, at_once) == {ITEMS: UNITS, SCORES: UNITS}
    assert rows(Store(store.uri)) == before
    for folder, like in schemas.items():
        files = store.files(folder, "")
        assert len(files) == 4  # of each model the base's and the others
        for file in files:
            data, part = store.read(file), pq.read_table(store.path(file))
            assert is_as_named(file, data)
            assert rows_in(file) == part.num_rows
            assert part.schema.equals(like, check_metadata=True)
            assert len(set(part["model"].to_pylist())) == 1
            assert part["adapter_id"].null_count in (0, part.num_rows)
            assert part["target_language"].to_pylist() == sorted(part["target_language"].to_pylist())
    assert store.files(SWAPS, OPEN) == []
    assert main([store.uri]) == 0
    files = store.files("", "", recursive=True)
    assert compact(store, at_once) == {}
    assert store.files("", "", recursive=True) == files


def test_what_comes_later_joins_what_has_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROWS", 24)
    for number in range(UNITS, 4 * UNITS):
        append(store, number)
        if number % 11 == 0:
            before = rows(store)
            compact(store, at_once)
            assert rows(store) == before
            assert sizes(store, SCORES)[1] == sizes(store, ITEMS)[1] == 0
    large = [rows_in(file.path) or 0 for file in by_size(current(store, SCORES))[0]]
    assert sum(large) == 8 * UNITS - 2 * (4 * UNITS - 1 - 44)
    assert sum(count < 12 for count in large) <= 4  # those with room: one for each model's base and others
    assert len(store.files(SWAPS, "")) == 1


def test_a_large_part_is_never_written_anew_as_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many have room: those that nothing comes to stay, and what comes to one joins it."""
    monkeypatch.setattr(compaction, "ROWS", 2 * 5 + 1)
    for model in range(6):  # each fills two fifths of a large part of scores
        for number in range(2):
            about = {"model": f"n{model}", "adapter_id": "a"}
            store.append([], [{**score_row(f"{model}-{number}"), **about}, {**score_row(f"{model}+{number}"), **about}])
        compact(store, at_once)
    before = {file.path for file in by_size(current(store, SCORES))[0]}
    store.append([], [{**score_row("new"), "model": "n3", "adapter_id": "a"}])
    assert compact(store, at_once) == {SCORES: 2}
    after = {file.path for file in by_size(current(store, SCORES))[0]}
    assert (len(before - after), len(after - before)) == (1, 1)


class Killed(BaseException):
    """No handler of failures takes it for one."""


class Mortal(Store):
    """A store whose process dies before one of the changes that it makes."""

    changes, dies_at = 0, -1

    def _change(self, change: Callable[[], None]) -> None:
        self.changes += 1
        if self.changes == self.dies_at:
            raise Killed
        change()

    def write(self, relative: str, data: bytes) -> None:
        self._change(lambda: Store.write(self, relative, data))

    def delete(self, relative: str) -> None:
        self._change(lambda: Store.delete(self, relative))


def test_it_may_be_killed_at_every_step(tmp_path: Path) -> None:
    """Whatever stands there then, all rows are read once, and the next one goes on; also killed twice."""
    store = Store(str(tmp_path / "store"))
    for number in (0, 1, 2, 5):
        append(store, number)
    before, whole = rows(store), Mortal(str(tmp_path / "whole"))
    shutil.copytree(store.uri, whole.uri)
    compact(whole, at_once)
    assert whole.changes > 20
    for step in range(1, whole.changes + 1):
        copy = Mortal(str(tmp_path / f"copy{step}"))
        shutil.copytree(store.uri, copy.uri)
        for dies_at in (step, 1 + step // 2):
            copy.changes, copy.dies_at = 0, dies_at
            with suppress(Killed):  # the second time less is left to do
                compact(copy, at_once)
            assert rows(Store(copy.uri)) == before, step
        if step % 5 == 0:
            assert main([copy.uri, "--repair"]) == 0
            assert rows(Store(copy.uri)) == before, step
        copy.dies_at = -1
        compact(copy, at_once)
        assert rows(Store(copy.uri)) == before, step
        assert sizes(copy, ITEMS) == sizes(copy, SCORES) == (3, 0)
        assert len(copy.files(SWAPS, "")) == 1
        shutil.rmtree(copy.uri)


class Overtaken(Store):
    """A store whose lease another process takes when a large part is about to be there, or was just written."""

    then: type[BaseException] | None = None
    before = True

    def write(self, relative: str, data: bytes) -> None:
        large = relative.endswith(".parquet") and rows_in(relative) is not None
        if large and self.before:
            settle(Store(self.uri))
        super().write(relative, data)
        if large and not self.before:
            settle(Store(self.uri))
        if large and self.then is not None:
            raise self.then("this run has lost the store")


@pytest.mark.parametrize("then", [None, LeaseLost])
@pytest.mark.parametrize("before", [True, False])
def test_a_lease_that_is_lost_while_a_large_part_is_written_doubles_and_loses_nothing(
    before: bool, then: type[BaseException] | None, store: Store
) -> None:
    expected, overtaken = rows(store), Overtaken(store.uri)
    overtaken.before, overtaken.then = before, then
    with pytest.raises(LeaseLost) if then else nullcontext():
        compact(overtaken, at_once)
    assert rows(store) == expected  # which has no row twice
    compact(store, at_once)
    assert rows(store) == expected


def test_a_reader_that_never_rests_sees_every_row_once(store: Store) -> None:
    written, end, seen, wrong = [UNITS], threading.Event(), [0], []

    def look() -> None:
        while not end.is_set():
            least = {f"s{number}" for number in range(written[0])}
            try:
                scores, items = rows(Store(store.uri))
                done = scores["score_id"].to_pylist()
                assert least <= set(done)
                assert len(done) == 2 * len(set(done))
                assert items.num_rows == DOCS * len(set(items["score_id"].to_pylist()))
                assert set(done) <= set(items["score_id"].to_pylist())
                assert not [p for p in Audit(Store(store.uri)).run().problems if "not all there" in p.what]
            except FileNotFoundError:
                continue  # an audit is not begun again by itself
            except Exception as error:
                wrong.append(error)
                raise
            seen[0] += 1

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(UNITS, 5 * UNITS):
        append(store, number)
        written[0] = number + 1
        if number % 2:
            compact(store, at_once)
    end.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert seen[0] > 5


class Torn(Store):
    """A store that is compacted, from beginning to end, while it is listed."""

    listings = 0

    def listed(self, folder: str, suffix: str, recursive: bool = False) -> list[File]:
        before = super().listed(folder, suffix, recursive)
        if folder != SCORES or self.listings:
            return before
        self.listings += 1
        compact(Store(self.uri), at_once)
        after = super().listed(folder, suffix, recursive)
        return [*before[:5], *after[:2]]  # what a scan sees of both


def test_a_listing_that_a_compaction_tears_is_made_again(store: Store) -> None:
    expected, torn = rows(store), Torn(store.uri)
    assert rows(torn) == expected
    assert torn.listings == 1


class Blind(Torn):
    """A store whose list of swaps is torn, too, at the next look."""

    def files(self, folder: str, suffix: str, recursive: bool = False) -> list[str]:
        self.listings += self.listings > 0
        return [] if folder == SWAPS and self.listings == 2 else super().files(folder, suffix, recursive)


def test_a_torn_list_of_swaps_says_nothing_of_a_listing(store: Store) -> None:
    compact(store, at_once)
    for number in range(UNITS, 2 * UNITS):
        append(store, number)
    expected, blind = rows(store), Blind(store.uri)
    assert rows(blind) == expected
    assert blind.listings > 2


def test_a_swap_that_never_came_to_be_or_is_damaged_hides_nothing(store: Store) -> None:
    expected, parts = rows(store), store.files(SCORES, ".parquet")
    Swap(1, f"{SCORES}/20260101T000000-0123456789ab-0123456789abcdef-9.parquet", tuple(parts)).begin(store)
    assert rows(store) == expected
    store.delete(parts[0])  # somebody's hand
    assert store.scores().num_rows == 2 * UNITS - 2
    store.write("swaps/00000001.json", b"{")
    assert store.scores().num_rows == 2 * UNITS - 2
    compact(store, at_once)
    assert store.scores().num_rows == 2 * UNITS - 2
    assert store.files(SWAPS, OPEN) == []
    assert len(store.files(SWAPS, ENDED)) == 1


def test_a_large_part_that_is_not_what_was_written_replaces_nothing(store: Store) -> None:
    expected = rows(store)

    def spoil(_: float) -> None:
        for folder in (SCORES, ITEMS):
            for file in by_size(current(store, folder))[0]:
                path = Path(store.path(file.path))
                path.write_bytes(path.read_bytes()[:-1] + b"x")

    compact(store, spoil)
    assert rows(store) == expected
    assert main([store.uri]) == 0
    assert sizes(store, SCORES) == sizes(store, ITEMS) == (0, UNITS)


def test_what_is_damaged_or_of_another_version_stays_where_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = (Path(store.path(file)) for file in store.files(SCORES, ".parquet"))
    first.write_bytes(first.read_bytes()[:-9])
    other = pq.read_table(second).replace_schema_metadata({"kind": "scores", "version": "0"})
    second.unlink()
    store.add_part(SCORES, other)
    monkeypatch.setattr("study.store.index.WORTH_IT", 0)  # no index can be made of these
    compact(store, at_once)
    assert sizes(store, SCORES)[1] == 2
    assert first.is_file()
    assert store.items().num_rows == UNITS * DOCS


def test_the_command_waits_for_no_holder_and_says_what_it_did(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    before = rows(store)
    with Lease(store, print):
        assert main([store.uri, "--compact"]) == 2
    assert "is held by" in capsys.readouterr().err
    assert sizes(store, SCORES) == (0, UNITS)
    assert main([store.uri, "--compact", "--repair"]) == 0
    assert f"results/items: {UNITS} files put together" in capsys.readouterr().out
    assert rows(store) == before
    assert main([store.uri, "--compact"]) == 0
    assert "nothing to put together" in capsys.readouterr().out


def test_a_run_compacts_what_has_become_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    monkeypatch.setattr("study.store.index.WORTH_IT", 2)
    warned: list[str] = []
    tidy(store, warned.append)
    assert not is_due(store)
    assert sizes(store, SCORES) == (0, UNITS)
    assert len(store.files("index", "", recursive=True)) == 1
    monkeypatch.setattr(compaction, "WORTH_IT", UNITS - 1)
    before = rows(store)
    tidy(store, warned.append)
    assert sizes(store, SCORES) == (4, 0)
    assert store.files("index", "", recursive=True) == []  # of what is in large parts none is needed
    assert rows(store) == before
    assert warned == []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    append(store, UNITS)
    monkeypatch.setattr(compaction, "WORTH_IT", 0)
    monkeypatch.setattr(Store, "write", full)
    tidy(store, warned.append)
    assert "No space left" in warned[0]
    assert store.scores().num_rows == 2 * UNITS + 2
