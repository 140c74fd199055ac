"""`study.check`: finds every kind of damage, repairs it, and leaves what is whole as it was."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from safetensors.numpy import save

from study import prompts
from study.audit.audit import Audit
from study.check import main
from study.config import Scoring
from study.config.recipe import TaskScoring
from study.prompts import Prompts
from study.store import schema
from study.store.layout import (
    DAMAGED,
    GRID_FILE,
    PROMPTS,
    SCORES_INDEX,
    SEEN_FILE,
    STUDY_FILE,
    adapter_folder,
    given_folder,
    prompts_file,
)
from study.store.lease import Lease
from study.store.parquet import to_bytes
from study.store.seen import Seen, renew
from study.store.store import Store
from tests.support.rows import done_scores, item_row, record_of, score_row


def put_adapter(store: Store, scratch: Path, adapter_id: str) -> str:
    local = scratch / adapter_id
    local.mkdir()
    (local / "adapter_model.safetensors").write_bytes(save({"a": np.ones(3, dtype=np.float32)}))
    (local / "adapter_config.json").write_text("{}")
    folder = adapter_folder("m", "t", "en", 1, adapter_id)
    store.put_adapter(folder, local, record_of(adapter_id))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A study with two adapters; scores of four items each, in one part per score."""
    store = Store(str(tmp_path / "store"))
    chatting(store, "meta/llama", chat=False)
    for name in ("a1", "a2"):
        put_adapter(store, tmp_path, name)
        score_id = f"s-{name}"
        rows = [{**item_row(score_id, doc_id), "adapter_id": name} for doc_id in range(4)]
        store.append(rows, [score_row(score_id, adapter_id=name, subject_id=name)])
    return store


def contents(store: Store) -> dict[str, bytes]:
    return {file: store.read(file) for file in store.files("", "", recursive=True) if not file.startswith("lease/")}


def test_a_whole_store_has_nothing_wrong(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(store)
    assert main([store.uri, "--repair"]) == 0
    assert main([store.uri]) == 0
    assert "read: 2 adapters, 2 scores, 8 items" in capsys.readouterr().out
    assert main([store.uri, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "read": {"adapters": 2, "scores": 2, "items": 8, "item parts": 2},
        **{key: [] for key in ("notes", "repaired", "repairable", "left")},
    }
    assert contents(store) == before
    assert main([f"{store.uri}/nowhere"]) == 2
    renew(store, lambda _: Seen(notes=("raw text of prose/de holds 1 of 9 items of quiz/de",)))
    assert main([store.uri]) == 0  # of the data, and of no file
    assert "raw text of prose/de holds 1 of 9 items of quiz/de" in capsys.readouterr().out


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(bytes(data))


def of_adapter(store: Store, name: str) -> Path:
    return next(Path(store.path("adapters")).rglob(f"*-a1/{name}"))


def first_part(store: Store, folder: str, score_id: str) -> Path:
    files = Path(store.path(folder)).glob("*.parquet")
    return next(f for f in files if pq.read_table(f)["score_id"][0].as_py() == score_id)


def damage(store: Store, how: str) -> None:
    """One kind of damage to adapter a1 or to the score s-a1."""
    items, scores = first_part(store, "results/items", "s-a1"), first_part(store, "results/scores", "s-a1")
    if how == "weights flipped":
        flip(of_adapter(store, "adapter_model.safetensors"))
    elif how == "weights gone":
        of_adapter(store, "adapter_model.safetensors").unlink()
    elif how == "record torn":
        of_adapter(store, "record.json").write_text("{")
    elif how == "record gone":
        of_adapter(store, "record.json").unlink()
    elif how == "items flipped":
        flip(items)
    elif how == "items gone":
        items.unlink()
    elif how == "items short":
        rows = pq.read_table(items)
        items.unlink()
        store.add_part("results/items", rows.slice(0, 3))
    elif how == "scores torn":
        scores.write_bytes(scores.read_bytes()[:-20])
    elif how == "scores gone":
        scores.unlink()


UNDONE = {
    "weights flipped": ("a1", None),
    "weights gone": ("a1", None),
    "record torn": ("a1", None),
    "record gone": ("a1", None),
    "items flipped": (None, "s-a1"),
    "items gone": (None, "s-a1"),
    "items short": (None, "s-a1"),
    "scores torn": (None, "s-a1"),
    "scores gone": (None, "s-a1"),
}


@pytest.mark.parametrize("how", UNDONE)
def test_damage_is_found_and_what_is_damaged_becomes_undone(
    store: Store, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(store, how)
    before = contents(store)
    assert main([store.uri]) == 1
    assert contents(store) == before  # looking changes nothing
    assert main([store.uri, "--repair"]) == 0
    assert "repaired: " in capsys.readouterr().out
    assert main([store.uri]) == 0
    adapter, score = UNDONE[how]
    assert store.records().keys() == {"a1", "a2"} - {adapter}
    assert done_scores(store) == {"s-a1", "s-a2"} - {score}
    left = {row["score_id"] for row in store.items(["score_id"]).to_pylist()}
    assert left == done_scores(store)
    whole = {file: data for file, data in before.items() if "-a2/" in file}
    assert {file: contents(store)[file] for file in whole} == whole


def test_what_targets_ask_is_checked_and_set_aside_where_it_is_damaged(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of a score depends on it: no score is done again."""
    row = {"doc_id": 0, "doc_hash": "h", "prompt": "Why?", "options": [" so", " else"], "reference": None}
    for target, base in (("t1", None), ("t2", "b")):
        Prompts(store).keep((target, base), schema.table(schema.PROMPTS, [row]))
    before = {file: store.read(file) for file in store.files(PROMPTS, "")}
    assert main([store.uri, "--repair", "--compact"]) == 0
    assert {file: store.read(file) for file in store.files(PROMPTS, "")} == before
    (whole,), (other,) = prompts.kept(store)["t1", None], prompts.kept(store)["t2", "b"]
    store.write(whole, store.read(whole)[:-20] + bytes(20))
    old = schema.table(schema.PROMPTS, [row]).replace_schema_metadata({"version": "1"})
    store.delete(other)
    store.write(prompts_file("t2", "b", to_bytes(old)), to_bytes(old))
    assert main([store.uri]) == 1
    said = capsys.readouterr().out
    assert "2 problems" in said
    assert "writes it again" in said
    assert "use the release that wrote it" in said
    assert main([store.uri, "--repair"]) == 1
    assert store.exists(f"{DAMAGED}/{whole}")
    assert list(prompts.kept(store)) == [("t2", "b")]
    assert store.scores().num_rows == 2


def test_what_killed_writers_leave_is_removed(store: Store, tmp_path: Path) -> None:
    left = [
        "results/scores/.part.parquet.0123.tmp",
        ".probe-0123",
        "adapters/m/t/en/seed1-a3/adapter_config.json",
        "failures/a1.json",
        "failures/s-a1.json",
    ]
    before = contents(store)
    for file in left:
        store.write(file, b'{"unit": "u", "kind": "nan", "attempts": 1, "message": ""}')
    store.append([item_row("s-never", 0)], [])
    assert main([store.uri]) == 1
    assert main([store.uri, "--repair"]) == 0
    assert contents(store) == before
    assert not any(Path(store.path(file)).exists() for file in left)


def test_rows_that_stand_there_twice_and_adapters_that_are_gone_are_notes(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.append([item_row("s-a1", i) for i in range(4)], [score_row("s-a1", adapter_id="a1")])
    for file in store.files("adapters/m/t/en/seed1-a2", ""):
        store.delete(file)
    assert main([store.uri]) == 0
    output = capsys.readouterr().out
    assert "1 score rows stand there more than once" in output
    assert "1 adapters have scores but are gone" in output


def test_another_schema_version_is_left_with_what_to_do(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    part = first_part(store, "results/scores", "s-a1")
    rows = pq.read_table(part)
    part.unlink()
    part = part.with_name("written-before.parquet")
    pq.write_table(rows.replace_schema_metadata({"version": "0"}), part)
    items = store.items().num_rows
    assert main([store.uri, "--repair"]) == 1
    assert "schema version 0, this program reads 2: use the release that wrote it" in capsys.readouterr().out
    assert part.exists()
    assert store.items().num_rows == items  # whose scores may be in it


def test_items_of_another_schema_version_make_no_score_incomplete(store: Store) -> None:
    part = first_part(store, "results/items", "s-a1")
    rows = pq.read_table(part)
    part.unlink()
    pq.write_table(rows.replace_schema_metadata({"version": "0"}), part.with_name("written-before.parquet"))
    before = contents(store)
    assert main([store.uri, "--repair"]) == 1
    assert contents(store) == before


def test_a_grid_of_another_schema_version_is_written_anew_and_not_damaged(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.write_grid(schema.SUBJECTS.empty_table(), schema.TARGETS.empty_table())
    grid = Path(store.path("grid.parquet"))
    pq.write_table(pq.read_table(grid).replace_schema_metadata({"version": "1"}), grid)
    before = contents(store)
    assert main([store.uri, "--repair"]) == 0
    assert "the next run writes it anew" in capsys.readouterr().out
    assert contents(store) == before
    grid.write_bytes(b"PAR1")
    assert main([store.uri, "--repair"]) == 0
    assert not grid.exists()


def test_a_part_that_cannot_be_understood_makes_no_rows_strays(store: Store) -> None:
    damage(store, "scores torn")
    (problem,) = Audit(store).run().problems
    assert "never finished" not in problem.what


def test_a_repair_ends_when_another_takes_the_store_over(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(5):
        store.write(f"failures/s-a{i}.json", b"{")
    real, told = Store.delete, threading.Event()

    def delete(self: Store, relative: str) -> None:
        real(self, relative)
        if relative.startswith("failures/") and not told.is_set():
            told.set()
            (lease,) = self.files("lease", ".json")
            other = {**json.loads(self.read(lease)), "token": "other", "host": "elsewhere", "machine": "another"}
            self.write("lease/00000099.json", json.dumps(other).encode())
            time.sleep(20)  # less, when it is told

    monkeypatch.setattr(Store, "delete", delete)
    monkeypatch.setattr("study.check.Lease", partial(Lease, renew_s=0.05))
    assert main([store.uri, "--repair"]) == 2
    assert "elsewhere" in capsys.readouterr().err
    assert len(store.files("failures", ".json")) == 4


def test_a_store_in_use_is_not_repaired(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with Lease(store, print):
        assert main([store.uri, "--repair"]) == 2
        assert "is held by" in capsys.readouterr().err
        assert main([store.uri]) == 0
        assert "in use by" in capsys.readouterr().out


def test_a_record_states_checksums(store: Store) -> None:
    record = store.records()["a1"]
    assert record.files.keys() == {"adapter_model.safetensors", "adapter_config.json"}
    assert json.loads(store.read(f"{record.folder}/record.json"))["files"]["adapter_config.json"]["bytes"] == 2


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        ("adapters/m/existing/given-a3", "adapter copied in part"),
        ("adapters/m/existing/en/seed1-a3", "adapter without a record"),  # of a task of this name
    ],
)
def test_an_adapter_that_was_written_in_part_is_removed(
    store: Store, capsys: pytest.CaptureFixture[str], folder: str, what: str
) -> None:
    before = contents(store)
    store.write(f"{folder}/adapter_model.safetensors", save({"a": np.ones(3, dtype=np.float32)}))
    assert main([store.uri, "--repair"]) == 0
    assert f"{what}: a run was killed here" in capsys.readouterr().out
    assert contents(store) == before


@pytest.mark.parametrize("config", [None, b"models: [{id: m}]\nlanguages: [en]\n", b"{"])
def test_a_folder_that_is_no_store_is_left_alone(
    config: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of a config and of adapters and checkpoints of one's own, say, as this repository's own folder looks."""
    folder = Store(str(tmp_path))
    for file in (
        "adapters/mine/adapter_model.safetensors",
        "adapters/m/t/en/seed1-mine/adapter_model.safetensors",
        "adapters/folders/folder.py",
        "checkpoints/a.safetensors",
        "lease/1.json",
        "lease/of-the-flat.json",
        ".a.tmp",
    ):
        folder.write(file, b"mine")
    pq.write_table(pa.table({"mine": [1]}), tmp_path / "grid.parquet")
    if config is not None:
        folder.write(STUDY_FILE, config)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for options in (["--repair", "--compact"], []):
        assert main([folder.uri, *options]) == 2
        assert "holds no study" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("left", ["a lease", "a grid", "an adapter cut off", "an adapter copied"])
def test_a_study_that_was_killed_in_its_first_units_is_repaired_though_its_study_yaml_is_damaged(
    left: str, tmp_path: Path
) -> None:
    """By any of what it has left."""
    store = Store(str(tmp_path))
    store.write(STUDY_FILE, b"{")
    if left == "a lease":
        with Lease(store, print):
            pass
    elif left == "a grid":
        store.write_grid(schema.SUBJECTS.empty_table(), schema.TARGETS.empty_table())
    else:
        cut_off = adapter_folder("m", "t", "en", 1, "0123456789abcdef")
        copied = given_folder("m", "g", "0123456789abcdef")
        store.write(f"{cut_off if left == 'an adapter cut off' else copied}/adapter_config.json", b"{")
    assert main([store.uri, "--repair"]) == 0
    assert not store.exists(STUDY_FILE)
    assert store.read(f"damaged/{STUDY_FILE}") == b"{"


def test_what_is_of_no_study_among_its_adapters_stays(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    others = [
        "adapters/mine/adapter_model.safetensors",
        "adapters/m/t/en/old/adapter_config.json",
        "adapters/notes.txt",
    ]
    for file in others:
        store.write(file, b"mine")
    assert main([store.uri, "--repair"]) == 0
    assert [store.read(file) for file in others] == [b"mine"] * 3
    assert "note: adapters/mine is no adapter's folder of a study, and stays as it is" in capsys.readouterr().out


def checkpoint_of(adapter_id: str) -> bytes:
    return save({"a": np.ones(1, dtype=np.float32)}, metadata={"state": json.dumps({"members": {adapter_id: {}}})})


def test_the_checkpoint_of_a_damaged_adapter_stays(store: Store) -> None:
    """It is what the adapter is trained again from."""
    for name in ("a1", "a2"):
        store.write(f"checkpoints/{name}.safetensors", checkpoint_of(name))
    flip(of_adapter(store, "adapter_model.safetensors"))
    assert main([store.uri, "--repair"]) == 0
    assert store.files("checkpoints", "") == ["checkpoints/a1.safetensors"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (STUDY_FILE, ""),
        (STUDY_FILE, "study: x"),
        (STUDY_FILE, "{config: {}, models: [{id: a}]}"),
        (SEEN_FILE, '{"trigrams": {}, "targets": {"a/b": {"half": 1}}, "cut": {}, "notes": []}'),
        ("failures/s-b.json", '{"kind": "nan"}'),
        ("adapters/m/t/en/seed1-a1/record.json", '{"adapter_id": "a1", "recipe": {}, "files": {}}'),
    ],
)
def test_a_file_that_does_not_say_what_its_readers_need_is_damaged(store: Store, file: str, text: str) -> None:
    store.write(file, text.encode())
    (problem,) = Audit(store).run().problems
    assert problem.file == file
    assert main([store.uri, "--repair"]) == 0


def test_an_index_is_checked_and_one_of_an_older_layout_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("study.store.index.WORTH_IT", 0)
    store.write_indexes()
    before = contents(store)
    assert Audit(store).run().problems == []
    (segment,) = store.files(SCORES_INDEX, ".parquet")
    store.write("index/records.parquet", store.read(segment))
    assert main([store.uri, "--repair"]) == 0
    assert "index of an older release" in capsys.readouterr().out
    assert contents(store) == before
    data = before[segment]
    store.write(segment, data.replace(b"s-a1", b"s-a0"))
    assert main([store.uri, "--repair"]) == 0
    assert store.files(SCORES_INDEX, ".parquet") == []


SAVES = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "modules_to_save": ["lm_head"]}


def put_spoiler(store: Store, config: dict[str, object]) -> None:
    """An adapter g1 that was made elsewhere."""
    folder = given_folder("m", "g", "g1")
    store.write(f"{folder}/adapter_model.safetensors", save({"a": np.ones(3, dtype=np.float32)}))
    store.write(f"{folder}/adapter_config.json", json.dumps(config).encode())


def put_scores(store: Store, scores: dict[str, dict[str, object]]) -> None:
    """Scores with their items, in the order in which they were made, a minute each."""
    start = datetime.now(UTC) + timedelta(hours=1)
    for minute, (score_id, changes) in enumerate(scores.items()):
        subject = changes.get("adapter_id", "m")
        about = {"subject_id": subject, "written_at": start + timedelta(minutes=minute)}
        row = score_row(score_id, **{**about, **changes})
        store.append([item_row(score_id, doc_id) for doc_id in range(4)], [row])


@pytest.mark.parametrize(
    ("config", "spoils"),
    [
        (SAVES, True),
        ({"peft_type": "LORA", "bias": "all"}, True),
        ({"peft_type": "LORA", "layer_replication": [[0, 1]]}, True),
        ({"peft_type": "ADAPTION_PROMPT"}, True),
        ({"peft_type": "LORA", "bias": "none", "modules_to_save": None}, False),
    ],
)
def test_scores_that_an_adapter_may_have_spoilt_are_done_again(
    config: dict[str, object], spoils: bool, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its model, since the first that was made with it, and not those made since bases are compared."""
    put_spoiler(store, config)
    of_other = {"model": "n", "subject_id": "n"}
    compared = {"adapter_id": "a2", "base_compared": True}
    made = {"of it": {"adapter_id": "g1"}, "after": {"adapter_id": "a1"}, "base after": {}, "other model": of_other}
    put_scores(store, {**made, "compared": compared, "of it again": {"adapter_id": "g1"}})
    before = done_scores(store)
    assert main([store.uri]) == int(spoils)
    assert ("4 scores of m, made since adapter g1" in capsys.readouterr().out) == spoils
    assert main([store.uri, "--repair"]) == 0
    assert ("1 problems, all repaired" in capsys.readouterr().out) == spoils
    assert before - done_scores(store) == ({"of it", "after", "base after", "of it again"} if spoils else set())
    assert set(store.items(["score_id"]).column("score_id").to_pylist()) == done_scores(store)
    assert main([store.uri]) == 0


STAYING = {
    "subject": {"adapter_id": "seed2"},
    "target": {"adapter_id": "a1", "target_id": "old t/en"},
    "gone": {"adapter_id": "gone"},
}


def test_spoilt_scores_that_nobody_makes_again_stay_and_are_known(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once those of g1 were made again, nothing told that the others may be wrong, and a wider config had them done."""
    put_spoiler(store, SAVES)
    put_adapter(store, tmp_path, "seed2")
    put_scores(store, {"of it": {"adapter_id": "g1"}, **STAYING, "after": {"adapter_id": "a2"}})
    assert main([store.uri]) == 1
    assert "note: 3 scores of m, made since adapter g1" in capsys.readouterr().out
    assert main([store.uri, "--repair"]) == 0
    assert done_scores(store) == {"s-a1", "s-a2", *STAYING}
    put_scores(store, {"of it": {"adapter_id": "g1", "base_compared": True}})
    before = contents(store)
    capsys.readouterr()
    for _ in range(2):
        assert main([store.uri, "--repair"]) == 0
        assert "note: 3 scores of m, made since an adapter was put on its base" in capsys.readouterr().out
        assert contents(store) == before
    chatting(store, "meta/llama", chat=False, adapters=("a1", "a2", "g1", "seed2"))
    assert main([store.uri, "--repair"]) == 0
    assert done_scores(store) == {"s-a1", "s-a2", "of it", "target", "gone"}
    put_adapter(store, tmp_path, "gone")
    assert main([store.uri, "--repair"]) == 0
    assert done_scores(store) == {"s-a1", "s-a2", "of it", "target", "gone"}
    chatting(store, "meta/llama", chat=False, adapters=("a1", "a2", "g1", "gone"))
    assert main([store.uri, "--repair"]) == 0
    assert done_scores(store) == {"s-a1", "s-a2", "of it", "target"}


@pytest.mark.parametrize("file", [GRID_FILE, STUDY_FILE])
def test_where_nobody_knows_what_is_made_again_nothing_is_taken_away(
    file: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    put_spoiler(store, SAVES)
    put_scores(store, {"of it": {"adapter_id": "g1"}, "after": {"adapter_id": "a1"}})
    damage(store, "items gone")
    store.delete(file)
    before = contents(store)
    assert main([store.uri, "--repair"]) == 0
    assert contents(store) == before
    out = capsys.readouterr().out
    assert "note: 2 scores of m, made since adapter g1" in out
    assert "note: 1 scores whose items are not all there, e.g. s-a1, but stay" in out


def test_scores_without_their_items_stay_where_nobody_makes_them_again(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_adapter(store, tmp_path, "seed2")
    put_scores(store, STAYING)
    for name in ("s-a1", *STAYING):
        first_part(store, "results/items", name).unlink()
    for _ in range(2):
        assert main([store.uri, "--repair"]) == 0
        assert done_scores(store) == {"s-a2", *STAYING}
        assert "note: 3 scores whose items are not all there" in capsys.readouterr().out


def test_scores_to_choose_a_lambda_by_go_only_where_a_choice_reads_them(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A base's, and those of what is made of several lambdas; an older release had adapters scored on them, too."""
    chatting(store, "meta/llama", chat=False, adapters=("a1", "a2", "c1"))
    put_adapter(store, tmp_path, "c1")
    subjects, targets = store.read_grid() or pytest.fail("no grid")
    apart = {"target_id": "apart", "target_task": "t", "target_language": "en"}
    part = {"subject_id": "a1", "source": "t/en", "weight": 0.5}
    made = dict.fromkeys(schema.COMPOSITIONS.names) | {"adapter_id": "c1", "name": "add", "model": "m", "terms": [part]}
    made |= {"method": "sum", "strength": 0.5, "protocol": "source"}
    store.write_grid(
        subjects,
        schema.table(schema.TARGETS, [*targets.to_pylist(), apart]),
        compositions=schema.table(schema.COMPOSITIONS, [made]),
        held_out=["apart"],
    )
    for name, adapter in {"base": None, "read": "c1", "surplus": "a1"}.items():
        row = score_row(name, subject_id=adapter or "m", adapter_id=adapter, target_id="apart")
        store.append([item_row(name, doc_id) for doc_id in range(3)], [row])
    for _ in range(2):
        assert main([store.uri, "--repair"]) == 0
        assert done_scores(store) == {"s-a1", "s-a2", "surplus"}
        assert "note: 1 scores whose items are not all there" in capsys.readouterr().out


def test_scores_of_an_older_release_lack_the_column(store: Store) -> None:
    """Those that stay get it, where they are in doubt."""
    put_spoiler(store, SAVES)
    store.append([item_row(name, i) for i in range(4) for name in ("old", "stays")], [])
    about = {"adapter_id": "g1", "subject_id": "g1"}
    rows = [score_row("old", **about), score_row("stays", **about, target_id="old t/en")]
    store.add_part("results/scores", schema.table(schema.SCORES, rows).drop_columns(["base_compared"]))
    assert store.scores().column("base_compared").null_count == 4
    assert main([store.uri, "--repair"]) == 0
    found = store.scores(["score_id", "base_compared"]).to_pydict()
    assert dict(zip(found["score_id"], found["base_compared"], strict=True)) == {
        "s-a1": None,
        "s-a2": None,
        "stays": False,
    }


def chatting(
    store: Store, model: str, revision: str | None = None, chat: bool = True, own: bool | None = None,
    adapters: Sequence[str] = ("a1", "a2", "g1", "gone"),
) -> None:  # fmt: skip
    """A study of one model, whose prompts are put into its chat template or not, and whose targets are current.

    Its subjects are the base and some adapters, of which not all are there; `own` is what the task says of itself.
    """
    tasks = [{"name": "t", "scoring": {"apply_chat_template": own}}, {"name": "u"}]
    config = {"models": [{"id": model}], "scoring": {"apply_chat_template": chat}, "tasks": tasks}
    models = [{"name": "m", "revision": revision, "params": 1}]
    store.write(STUDY_FILE, json.dumps({"config": config, "models": models}).encode())
    about = dict.fromkeys(schema.SUBJECTS.names) | {"model": "m", "model_params": 1}
    named = {"m": None, **{name: name for name in adapters}}
    subjects = [{**about, "subject_id": subject, "adapter_id": adapter} for subject, adapter in named.items()]
    targets = [{"target_id": f"{task}/en", "target_task": task, "target_language": "en"} for task in ("t", "u")]
    store.write_grid(schema.table(schema.SUBJECTS, subjects), schema.table(schema.TARGETS, targets))


LLAMA_SAYS = {"chat_template": "{% set date_string = strftime_now('%d %b %Y') %}"}


@pytest.mark.parametrize("where", ["local", "hub"])
def test_scores_that_were_asked_under_their_days_date_are_made_again(
    where: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the current targets that do not state that the day is one."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    revision = "a" * 40 if where == "hub" else None
    folder = tmp_path / "models--meta--llama" / "snapshots" / str(revision)
    folder.mkdir(parents=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(LLAMA_SAYS))
    chatting(store, "meta/llama" if revision else str(folder), revision)
    for name, changes in {"since": {"day_fixed": True}, "stale": {"target_id": "old t/en"}}.items():
        store.append([item_row(name, doc_id) for doc_id in range(4)], [score_row(name, **changes)])
    before = contents(store)
    assert main([store.uri]) == 1
    assert "2 scores of m, made by an older release" in capsys.readouterr().out
    assert contents(store) == before
    assert main([store.uri, "--repair"]) == 0
    assert done_scores(store) == {"since", "stale"} == set(store.items(["score_id"])["score_id"].to_pylist())
    capsys.readouterr()
    assert main([store.uri]) == 0
    assert "older release" not in capsys.readouterr().out


def test_scores_that_nobody_makes_again_stay_though_they_were_asked_under_their_days_date(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a subject that the config has no more, though its adapter is there, and of an adapter that is gone."""
    (tmp_path / "chat_template.jinja").write_text(LLAMA_SAYS["chat_template"])
    chatting(store, str(tmp_path))
    put_adapter(store, tmp_path, "seed2")
    for name, subject, adapter in (("base", "m", None), ("s-seed2", "seed2", "seed2"), ("s-gone", "gone", "gone")):
        row = score_row(name, subject_id=subject, adapter_id=adapter)
        store.append([item_row(name, doc_id) for doc_id in range(4)], [row])
    for _ in range(2):
        assert main([store.uri, "--repair"]) == 0
        assert done_scores(store) == {"s-seed2", "s-gone"} == set(store.items(["score_id"])["score_id"].to_pylist())
        assert "note: 2 scores of m, made by an older release, hold the date" in capsys.readouterr().out


@pytest.mark.parametrize("general", [True, False])
@pytest.mark.parametrize("own", [True, False, None])
def test_what_a_task_says_of_its_chats_comes_before_what_is_said_of_all(
    general: bool, own: bool | None, store: Store, tmp_path: Path
) -> None:
    """As `TaskScoring.over` has it; a task that says nothing is as all are."""
    (tmp_path / "chat_template.jinja").write_text(LLAMA_SAYS["chat_template"])
    chatting(store, str(tmp_path), chat=general, own=own)
    row = score_row("s-u", target_id="u/en", target_task="u")
    store.append([item_row("s-u", doc_id) for doc_id in range(4)], [row])
    stays = set()
    for task, names in (("t", {"s-a1", "s-a2"}), ("u", {"s-u"})):
        said = TaskScoring(apply_chat_template=own if task == "t" else None)
        if not said.over(Scoring(apply_chat_template=general)).apply_chat_template:
            stays |= names
    assert main([store.uri, "--repair"]) == 0
    assert done_scores(store) == stays


@pytest.mark.parametrize("chat", [True, False])
def test_a_template_without_a_date_changes_nothing(
    chat: bool, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = "{{ messages[0]['content'] }}" if chat else LLAMA_SAYS["chat_template"]
    (tmp_path / "chat_template.jinja").write_text(template)
    chatting(store, str(tmp_path), chat=chat)
    assert main([store.uri]) == 0
    assert "older release" not in capsys.readouterr().out


def test_a_template_that_is_not_at_hand_is_asked_for(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    chatting(store, "meta/nowhere", "b" * 40)
    assert main([store.uri, "--repair"]) == 0
    out = capsys.readouterr().out
    assert "is not on this machine" in out
    assert f"hf download meta/nowhere --revision {'b' * 40} chat_template.jinja tokenizer_config.json" in out
    assert done_scores(store) == {"s-a1", "s-a2"}
