"""Whole studies through the command line: real Ray, real training, real scoring, real signals."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
import torch
from safetensors.torch import load as tensors
from safetensors.torch import save

from analysis.page import files
from analysis.reading.study import load_store
from analysis.statistics.epochs import epochs
from analysis.statistics.samples.curves import learning_curve
from evaluators.items.item import check_supported
from orchestrator import status
from orchestrator import sweep as sweep_module
from orchestrator.costs.devices import BYTES_PER_S, START_S
from orchestrator.costs.estimate import costs, estimate
from orchestrator.costs.measured import measure
from orchestrator.planning.grid import expand
from orchestrator.planning.plan import plan
from orchestrator.planning.spent import took_in
from orchestrator.planning.survey import survey
from study import check as study_check
from study.config import Recipe
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.given import put_into, resolve_existing
from study.models.resolve import resolve_all
from study.store.course import Stage
from study.store.layout import WEIGHTS_FILE
from study.store.records import AdapterRecord
from study.store.store import Store
from tests.faults.disk import Disk
from tests.support import trackers
from tests.support.forks.graft import family, person
from tests.support.rows import done_scores
from tests.support.tiny_models import make_model
from tests.support.tiny_world import CROWDED, asked, make_config, make_tasks, start, sweep, sweep_apart, wait_until
from tests.support.trials import adapters

TASKS, LANGUAGES = ["next", "skip"], ["xx", "yy"]
STAGES: list[object] = [
    {"name": "third", "cells": ["next/yy", "skip/yy"], "start_from": "second"},
    {"name": "second", "cells": "skip/xx", "start_from": "next/xx"},
]


def results(folder: Path) -> pl.DataFrame:
    """Item rows without what differs from run to run by nature; ordered."""
    items = pl.DataFrame(pl.from_arrow(Store(str(folder / "store")).items()))
    return items.drop("written_at", "loglikelihoods").unique().sort("score_id", "doc_id")


def _row(output: str, first: str) -> list[str]:
    """A model in a printed table: its name; adapters done, stale, failed, to do; scores likewise; hours left."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines() if "│" in line]
    at = next(i for i, row in enumerate(rows) if row[0] == first)
    name, adapters, *numbers = rows[at]
    assert (adapters, rows[at + 1][1]) == ("adapters", "scores")
    return [name, *numbers[:4], *rows[at + 1][2:6], *numbers[4:]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that tells options apart, and the lm-eval folder."""
    folder = tmp_path_factory.mktemp("world")
    return make_model(folder / "tiny", spread=0.2), make_tasks(folder / "tasks", TASKS, LANGUAGES)


@pytest.fixture(scope="module")
def undisturbed(world: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study that ran from start to end."""
    model, tasks = world
    folder = tmp_path_factory.mktemp("undisturbed")
    config = make_config(folder, [model], TASKS, LANGUAGES, tasks, **CROWDED)
    done = sweep_apart(config, whole=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray dashboard: http://127.0.0.1:" in done.stdout
    return folder


def test_a_study_leaves_adapters_items_scores_and_nothing_to_do(undisturbed: Path) -> None:
    store = Store(str(undisturbed / "store"))
    assert len(store.records()) == 4
    scores = pl.DataFrame(pl.from_arrow(store.scores()))
    assert scores.group_by("score_id").len()["len"].to_list() == [2] * 20  # acc and acc_norm of 5 subjects on 4 targets
    assert len(results(undisturbed)) == 20 * 12
    assert set(results(undisturbed)["score_id"]) == set(scores["score_id"])
    again = sweep(undisturbed / "study.yaml")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert "dashboard" not in again.stdout  # no cluster was started for it


def test_adapters_differ_from_the_base_and_from_one_another(undisturbed: Path) -> None:
    store = Store(str(undisturbed / "store"))
    items = pl.DataFrame(pl.from_arrow(store.items()))
    sums = items.group_by("adapter_id").agg(pl.col("loglikelihoods").list.sum().sum().round(3))
    assert sums["loglikelihoods"].n_unique() == 5


def test_samples_are_sources_beside_those_they_are_drawn_from(world: tuple[Path, Path], tmp_path: Path) -> None:
    model, tasks = world
    config = make_config(tmp_path, [model], TASKS[:1], LANGUAGES, tasks, **CROWDED)
    named = {"name": "next", "lm_eval": "next_{language}", "include_path": str(tasks), "train": {"sizes": [8, 24]}}
    sizes = f"tasks={json.dumps([named])}"
    done = sweep(config, "--set", sizes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 samples are no less than all rows, e.g. next/xx@24 of 24" in " ".join(done.stdout.split())
    records = {record.source[0]: record for record in Store(str(tmp_path / "store")).records().values()}
    assert {name: sum(one.course.examples.__dict__.values()) for name, one in records.items()} == {
        **{"next/xx": 24, "next/yy": 24, "next/xx@8": 8, "next/yy@8": 8}
    }
    study = load_store(str(tmp_path / "store"))
    assert study.units["source_size"].value_counts().sort("source_size").rows() == [(None, 6), (8, 4)]
    assert study.transfer.height == 4  # of all rows alone
    assert (4, "learning_curve") in study.apart
    curve = learning_curve(study).filter(pl.col("of") == "task", pl.col("regime") == "MT-ML")
    assert curve.select("sample", "examples", "n_cells").rows() == [(8, 8, 2), (None, 24, 2)]
    assert "nothing to do" in sweep(config, "--set", sizes).stdout
    assert "nothing to do" in sweep(config).stdout  # without samples the ids of all rows are the same


def test_recipes_are_an_axis_and_what_one_alone_has_made_is_found(
    world: tuple[Path, Path], undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tasks = world
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks, sources=["next/xx", "next/yy"], **CROWDED)
    shutil.copytree(undisturbed / "store", tmp_path / "store", symlinks=True)
    store, recipes = (
        Store(str(tmp_path / "store")),
        "recipes={plain: {}, low: {lora: {r: 2}, max_steps: 4}, all: {epochs: 3, score_epochs: all}}",
    )
    before = store.records()
    done = sweep(config, "--set", recipes)
    assert done.returncode == 0, done.stdout + done.stderr
    records = store.records()
    assert {name: records[name].written_at for name in before} == {name: one.written_at for name, one in before.items()}
    new = [record for name, record in records.items() if name not in before]
    low, shown = ([one for one in new if f"/seed1-{name}-" in one.folder] for name in ("low", "all"))
    assert [sorted(one.source for one in some) for some in (low, shown)] == [[("next/xx",), ("next/yy",)]] * 2
    assert {(one.course.steps, len(one.course.epochs), one.recipe["lora"]["r"]) for one in low} == {(4, 2, 2)}
    for one in shown:
        others = {1, 2, 3} - {one.course.best_epoch}
        weights = {name for name in one.files if name.endswith(".safetensors")}
        assert weights == {WEIGHTS_FILE, *(f"epoch{number}/{WEIGHTS_FILE}" for number in others)}
    study = load_store(store.uri)
    assert study.across is not None
    heights = {name: one.transfer.height for name, one in study.across.studies.items()}
    assert heights == {"plain": 8, "low": 8, "all": 8}
    assert study.done == study.expected == 4 + 3 * 8 + 2 * 8  # of three epochs the kept one is the adapter
    found = epochs(study.across.studies["all"]).filter(pl.col("family") == "cell")
    assert found.group_by("epoch").len().sort("epoch").rows() == [(1, 8), (2, 8), (3, 8)]
    assert found["kept"].sum() == 8
    assert study_check.main([store.uri]) == 0
    assert status.main([store.uri]) == 0
    assert _row(capsys.readouterr().out, "tiny")[1:9] == ["6", "2", "0", "0", "52", "8", "0", "0"]
    assert "nothing to do" in sweep(config, "--set", recipes).stdout
    assert "nothing to do" in sweep(config).stdout  # without recipes what `plain` is called is found as well


def test_records_name_the_rows_that_were_trained_on(undisturbed: Path) -> None:
    store = Store(str(undisturbed / "store"))
    scored = set(store.items(["doc_hash"]).column("doc_hash").to_pylist())
    for record in store.records().values():
        assert len(record.train_doc_hashes) == 24
        assert not scored & set(record.train_doc_hashes)


def test_status_tells_the_same_from_the_store_alone(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([str(undisturbed / "store")]) == 0
    output = capsys.readouterr().out
    numbers = ["4", "0", "0", "0", "20", "0", "0", "0"]  # of adapters, of scores: done, stale, failed, to do
    assert _row(output, "tiny") == ["tiny", *numbers, "0.000"]
    assert "nobody works on it now" in output
    assert status.main([str(undisturbed / "nowhere")]) == 2


def test_existing_adapters_are_scored_like_the_same_ones_trained_here(
    world: tuple[Path, Path], undisturbed: Path, tmp_path: Path
) -> None:
    model, tasks = world
    before = Store(str(undisturbed / "store"))
    (first, one), (_, other) = list(before.records().items())[:2]
    paths = [str(undisturbed / "store" / record.folder) for record in (one, other)]
    given = [
        {"name": "known", "model": "tiny", "path": paths[0], "source": one.source[0]},
        {"name": "found", "model": "tiny", "path": paths[1]},
    ]
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks, adapters=given, sources=[])
    done = sweep(config, "--profile")
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(str(tmp_path / "store"))
    assert b"tokens/s" in b"".join(store.read(page) for page in store.files("logs", ".txt"))
    sources = {(row["source_task"], row["source_language"], row["seed"]) for row in store.scores().to_pylist()}
    assert sources == {(None, None, None), (*one.source[0].split("/"), None)}
    assert pl.DataFrame(pl.from_arrow(store.scores()))["adapter_id"].n_unique() == 3
    assert store.records() == {}

    def said(where: Store, adapter: pl.Expr) -> pl.DataFrame:
        columns = ["target_task", "target_language", "doc_id", "loglikelihoods"]
        return pl.DataFrame(pl.from_arrow(where.items())).filter(adapter).select(columns).sort(columns[:3])

    here = said(store, pl.col("source_task").is_not_null())
    assert here.equals(said(before, pl.col("adapter_id") == first))
    again = sweep(config, "--json")
    assert "nothing to do" in again.stderr
    told = json.loads(again.stdout)
    assert told == {"study": "tiny", "store": store.uri, "nothing_to_do": True, "failures": []}
    for path in ("/nowhere", str(model)):
        assert sweep_module.main([str(config), "--set", f"adapters.0.path={path}"]) == 2


def test_a_killed_driver_loses_nothing_and_repeats_nothing(
    world: tuple[Path, Path], undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between two stages, of which the second begins with the adapter of the first."""
    model, tasks = world
    sources = [*(f"{task}/{language}" for task in TASKS for language in LANGUAGES), *STAGES]
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks, sources=sources, **CROWDED)
    store = Store(str(tmp_path / "store"))
    with start(config) as driver:
        wait_until(lambda: any(record.stage for record in store.records().values()), driver)
        assert sweep_module.main([str(config)]) == 2  # another driver beside it
        assert f"(process {person(driver.pid)}) since" in capsys.readouterr().err
        assert status.main([store.uri]) == 0
        assert f"(process {person(driver.pid)}) since" in capsys.readouterr().out
        driver.kill()
    time.sleep(2)  # the cluster notices and ends; what it had in hand may still be written
    trained = {adapter_id: record.written_at for adapter_id, record in store.records().items()}
    scored = done_scores(store)
    assert len(scored) < 28
    done = sweep(config)
    assert done.returncode == 0, done.stdout + done.stderr
    after = {adapter_id: record.written_at for adapter_id, record in store.records().items()}
    assert {key: after[key] for key in trained} == trained  # no finished adapter was trained again
    rows = pl.DataFrame(pl.from_arrow(store.scores()))
    counts = dict(rows.group_by("score_id").len().iter_rows())
    assert all(counts[score_id] == 2 for score_id in scored)  # no finished score was made again
    expected, mine = results(undisturbed), results(tmp_path)
    assert mine.filter(pl.col("score_id").is_in(expected["score_id"].implode())).equals(expected)
    assert len(mine) == 28 * 12
    records = {record.called: record for record in store.records().values()}
    first, second, third = (records[name] for name in ("next/xx", "skip/xx@second", "next/yy+skip/yy@third"))
    assert third.stage == Stage("third", second.called, second.adapter_id, ("next/xx", "skip/xx"))
    for one, other, related in ((first, second, True), (second, third, True), (first, records["skip/xx"], False)):
        assert (alike(store, one, other) > 0.5) == related
    assert "nothing to do" in sweep(config).stdout


def alike(store: Store, one: AdapterRecord, other: AdapterRecord) -> float:
    """The cosine of all matrices A of two adapters: those that begin apart are at right angles."""
    whole = []
    for record in (one, other):
        found = tensors(store.read(f"{record.folder}/adapter_model.safetensors"))
        whole.append(torch.cat([found[name].flatten() for name in sorted(found) if ".lora_A." in name]))
    return float(torch.cosine_similarity(*whole, dim=0))


def test_two_models_and_a_broken_language(world: tuple[Path, Path], tmp_path: Path) -> None:
    """The broken cells are listed with their reason, all others complete, and the exit code is 1.

    The one evaluator that may be there, and is kept though idle, gives its place to the other model's, whose base is
    quantised.
    """
    model, _ = world
    other = make_model(tmp_path / "other", seed=5, spread=0.2)
    tasks = make_tasks(tmp_path / "tasks", ["next"], ["xx", "yy", "zz"])
    rows = (tasks / "next_zz_test.jsonl").read_text().splitlines()
    (tasks / "next_zz_test.jsonl").write_text("\n".join(row.replace("question", "frage") for row in rows))
    config = make_config(tmp_path, [model, other], ["next"], ["xx", "yy", "zz"], tasks)
    done = sweep(config, "--set", "models.1.quantization=nf4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "target next/zz" in done.stdout
    assert "other: linear modules hold nf4" in " ".join(done.stdout.split())
    store = Store(str(tmp_path / "store"))
    failures = list(store.failures().values())
    assert {failure.unit for failure in failures} >= {"target next/zz"}
    assert {failure.kind for failure in failures} == {"bad_data"}
    assert done_scores(store) == asked(store)
    models = pl.DataFrame(pl.from_arrow(store.scores())).group_by("model").agg(pl.col("score_id").n_unique())
    assert dict(models.iter_rows()) == {"tiny": 6, "other": 6}


def test_a_failing_unit_is_recorded_and_the_rest_goes_on(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate that makes every loss infinite: each adapter is rejected once, the base is still scored."""
    model, tasks = world
    config = make_config(tmp_path, [model], ["next"], LANGUAGES, tasks)
    done = sweep(config, "--set", "recipe.learning_rate=1e30", "--set", "recipe.max_grad_norm=null")
    assert done.returncode == 1, done.stdout + done.stderr
    failures = Store(str(tmp_path / "store")).failures().values()
    assert [failure.kind for failure in failures] == ["nan", "nan"]
    assert {failure.attempts for failure in failures} == {1}
    assert len(done_scores(Store(str(tmp_path / "store")))) == 2
    again = sweep(config, "--set", "recipe.learning_rate=1e30", "--set", "recipe.max_grad_norm=null")
    assert again.returncode == 1, again.stdout + again.stderr
    assert "left as they failed: 2 units (nan 2)" in again.stdout
    numbers = ["0", "0", "2", "0", "2", "0", "4", "0"]  # of adapters, of scores: done, stale, failed, to do
    assert _row(again.stdout, "tiny") == ["tiny", *numbers]
    assert status.main([str(tmp_path / "store")]) == 0
    assert _row(capsys.readouterr().out, "tiny") == ["tiny", *numbers, "0.000"]
    assert "Ray dashboard" not in again.stdout  # what would fail again is not tried


def test_what_failed_for_good_is_tried_again_when_somebody_says_so(
    world: tuple[Path, Path], undisturbed: Path, tmp_path: Path
) -> None:
    """An adapter's copy in the store is spoilt, then mended: nothing that the score's identity could tell."""
    model, tasks = world
    record = next(iter(Store(str(undisturbed / "store")).records().values()))
    given = [{"name": "spoilt", "model": "tiny", "path": str(undisturbed / "store" / record.folder)}]
    file = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks, adapters=given, sources=[], targets=["next/xx"])
    config = load(str(file))
    (adapter,) = resolve_existing(config, resolve_all(config))
    store, weights = Store(config.store), f"{adapter.folder}/adapter_model.safetensors"
    put_into(store, adapter)
    whole = store.read(weights)
    store.write(weights, save({name: tensor * float("nan") for name, tensor in tensors(whole).items()}))
    failing = sweep(file)
    assert failing.returncode == 1, failing.stdout + failing.stderr
    assert [failure.kind for failure in store.failures().values()] == ["bad_data"]
    store.write(weights, whole)
    left = sweep(file)
    assert left.returncode == 1, left.stdout + left.stderr
    assert "left as they failed: 1 units (bad_data 1)" in left.stdout
    retried = sweep(file, "--retry-failed")
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert store.failures() == {}
    assert len(done_scores(store)) == 2


def test_full_fine_tuning_is_trained_stored_and_scored_like_an_adapter(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    model, tasks = world
    recipe = {"lora": None, "epochs": 2, "learning_rate": 0.001, "max_length": 64}
    config = make_config(
        tmp_path, [model], TASKS, LANGUAGES, tasks, sources=["next/xx", "skip/yy"], targets=["next/xx"], recipe=recipe
    )
    done = sweep(config)
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(str(tmp_path / "store"))
    assert [record.conditions.gang_size for record in store.records().values()] == [1, 1]
    assert all((folder / "model.safetensors").is_file() for folder in adapters(store).values())
    subjects: dict[str | None, float] = {}
    for item in store.items().to_pylist():
        subjects[item["adapter_id"]] = subjects.get(item["adapter_id"], 0.0) + sum(item["loglikelihoods"])
    assert len({round(total, 3) for total in subjects.values()}) == 3  # the base and two that differ from it
    report = files.write(load_store(store.uri), tmp_path / "report").index.read_text()
    assert "2 adapters were trained: full fine-tuning, 2 epochs" in report
    assert "(LoRA)" not in report
    assert "nothing to do" in sweep(config).stdout


def test_other_kinds_of_tuning_are_trained_recorded_and_scored_in_one_study(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    model, tasks = world
    recipes: dict[str, dict[str, object]] = {
        "dora": {"kind": "dora"},
        "pissa": {"lora": {"init": "pissa"}},
        "ia3": {"kind": "ia3", "learning_rate": 0.05},
        "prompts": {"kind": "prompt_tuning", "prompt_tuning": {"num_virtual_tokens": 4}, "learning_rate": 0.05},
        "prefixes": {"kind": "prefix_tuning", "prefix_tuning": {"num_virtual_tokens": 4}, "learning_rate": 0.05},
    }
    config = make_config(
        tmp_path, [model], TASKS, LANGUAGES, tasks, sources=["next/xx"], targets=["next/xx"], recipes=recipes
    )
    done = sweep(config)
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(str(tmp_path / "store"))
    stated = {Recipe.of_record(record.recipe).tuning for record in store.records().values()}
    assert stated == {
        "DoRA, r 4, alpha 8",
        "PiSSA, r 4, alpha 8",
        "IA3",
        "prompt tuning, 4 virtual tokens",
        "prefix tuning, 4 virtual tokens",
    }
    subjects: dict[str | None, float] = {}
    for item in store.items().to_pylist():
        subjects[item["adapter_id"]] = subjects.get(item["adapter_id"], 0.0) + sum(item["loglikelihoods"])
    assert len({round(total, 3) for total in subjects.values()}) == 1 + len(recipes)  # the base, and each its own
    assert "nothing to do" in sweep(config).stdout


def test_an_interrupt_says_how_to_go_on(world: tuple[Path, Path], tmp_path: Path) -> None:
    model, tasks = world
    alone = {"resources_per_worker": {"CPU": 1}, "gang_size": 1}
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks, track=["tensorboard"], training=alone)
    store = Store(str(tmp_path / "store"))
    with start(config, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        wait_until(lambda: len(done_scores(store)) > 4, driver)  # more than the base's: an adapter has been trained
        started = family(psutil.Process(driver.pid))
        driver.send_signal(signal.SIGINT)
        output, _ = driver.communicate(timeout=30)
    assert driver.returncode == 130, output
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert f"To go on: python -m orchestrator.sweep {config}" in output
    assert "Traceback" not in output
    assert "device time: adapters" in output
    (file,) = store.files("logs/runs", ".json")
    assert "train" in {row["stage"] for row in json.loads(store.read(file))["units"]}
    sent = {name.partition("/")[0] for name, _, _ in trackers.tensorboard(Path(store.path("logs/tensorboard")))}
    assert sent >= {"loss", "progress"}  # on the disk, since its tracker was closed


def test_a_full_disk_is_what_is_said_and_what_it_took_until_then(world: tuple[Path, Path], tmp_path: Path) -> None:
    """Its own log does not fit either, on a disk of its own that was full before; that hides nothing."""
    model, tasks = world
    with Disk(tmp_path / "disk") as disk, Disk(tmp_path / "disk/store/logs/runs") as disk_of_logs:
        disk_of_logs.fill()
        alone = {"resources_per_worker": {"CPU": 1}, "gang_size": 1}
        config = make_config(
            tmp_path,
            [model],
            TASKS,
            LANGUAGES,
            tasks,
            store=f"{disk.where}/store",
            training=alone,
            track=["tensorboard"],
        )
        store = Store(f"{disk.where}/store")
        with start(config, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
            wait_until(lambda: len(done_scores(store)) > 4, driver)
            disk.fill()
            output, _ = driver.communicate(timeout=400)
        assert driver.returncode == 1, output
        assert "No space left on device" in output
        assert f"go on: python -m orchestrator.sweep {config}" in output
        assert "Traceback" not in output
        assert "device time: adapters" in output
        assert store.files("logs/runs", ".json") == []


def test_a_limit_ends_a_run_that_can_be_gone_on_with(world: tuple[Path, Path], tmp_path: Path) -> None:
    model, tasks = world
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks)
    done = sweep(config, "--price", "2", "--max-cost", "0.0001")
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "limit reached: this run has held " in said
    assert f"To go on: python -m orchestrator.sweep {config}" in said
    assert "device time: " in said
    assert "error" not in said + done.stderr


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--set", "recipe.epoch=1"], "recipe.epoch"),
        (["--set", "recipe.epochs=many"], "recipe.epochs"),
        (["--set", "tasks.0.lm_eval=nexxt_{language}"], "tasks[next].lm_eval"),
        (["--set", "tasks.0.include_path=/nowhere"], "tasks.include_path"),
        (["--set", "languages=[xx, qq]"], "tasks[next].lm_eval"),
        (["--set", "models.0.id=/nowhere"], "models[0].id"),
        (["--set", "recipe.lora.modules=[q_prj]"], "recipe.lora.modules"),
        (["--set", "sources=[]"], "sources"),
        (["--set", "targets=[next/qq]"], "targets"),
        (["--set", "store=/proc/none"], "store"),
        (["--set", "training.deepspeed={train_batch_size: 4}"], "training.deepspeed.train_batch_size"),
        (["--limit", "0"], "--limit"),
        (["--max-cost", "5"], "--max-cost"),
        (["--max-device-hours", "-1"], "--max-device-hours"),
        (["--set", "epochs"], "--set"),
    ],
)
def test_bad_input_ends_with_2_before_anything_is_started(
    world: tuple[Path, Path], tmp_path: Path, arguments: list[str], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    model, tasks = world
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks)
    assert sweep_module.main([str(config), *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {key} = ")
    assert "\n  fix: " in message
    assert not ray.is_initialized()
    assert not (tmp_path / "store" / "study.yaml").exists()


def test_a_dry_run_prints_the_plan_and_its_cost_and_writes_nothing(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tasks = world
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks)
    assert sweep_module.main([str(config), "--dry-run", "--price", "2", "--limit", "3", "--json"]) == 0
    printed = capsys.readouterr()
    told, output = json.loads(printed.out), printed.err
    (row,) = told["models"]
    assert (row["adapters"]["to_do"], row["scores"]["to_do"], told["broken"]) == (4, 20, [])
    assert row["cost"]["device_hours"] > 0
    assert "FLOP model" in output
    assert "M tokens" in output
    assert not (tmp_path / "store").exists()


def test_the_estimate_goes_by_the_speed_that_the_store_has_seen(undisturbed: Path) -> None:
    """A second seed costs what the first one did: all of its training, and its four of five subjects' scoring."""
    config = load(undisturbed / "study.yaml", ["seeds=[1, 2]"])
    store, models = Store(config.store), resolve_all(config)
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    todo = plan(expand(config, models, found.sources, found.targets), store.trained(), store.scored())
    measured = measure(store, {"train": "cpu", "score": "cpu"}, took_in(store))
    estimates = estimate(todo.grid, found, config, measured, {"train": "CPU", "score": "CPU"})
    (cost,) = costs(todo, estimates)
    units = pl.DataFrame(pl.from_arrow(store.scores())).unique("score_id")
    assert cost.train_s == pytest.approx(sum(record.course.seconds for record in store.records().values()))
    assert cost.score_s == pytest.approx(units["seconds"].sum() * 4 / 5)
    tokens = {record.source[0]: record.course.tokens.useful for record in store.records().values()}
    assert estimates.train_tokens["tiny"] == tokens  # as planned, so trained
    read = {(row["target_task"], row["target_language"]): row["tokens"] for row in units.iter_rows(named=True)}
    planned = [read[cell.task, cell.language] for cell in todo.grid.targets]
    assert estimates.score_tokens["tiny"] == planned  # and so scored


def test_another_study_is_estimated_by_the_speed_of_a_finished_one(
    world: tuple[Path, Path], undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same cells with another seed, in a store of its own: it costs what the finished study took."""
    model, tasks = world
    config, seen = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks, seeds=[2]), Store(str(undisturbed / "store"))
    asked = [str(config), "--dry-run", "--price", str(3600 * 10**6)]
    assert sweep_module.main([*asked, "--calibrate-from", seen.uri]) == 0
    output = "".join(capsys.readouterr().out.split())
    units = pl.DataFrame(pl.from_arrow(seen.scores())).unique("score_id")
    seconds = sum(record.course.seconds for record in seen.records().values()) + units["seconds"].sum()
    (cost,) = re.findall(r"([\d,]+\.\d\d)│", output)
    size = resolve_all(load(config))[0].params * 4
    loads = 2 * (START_S + size / BYTES_PER_S)  # by a trainer, and by an evaluator
    assert float(cost.replace(",", "")) == pytest.approx((seconds + loads) * 10**6, abs=0.01)
    assert f"trainingmeasuredoncpuin{seen.uri};scoringmeasuredoncpuin{seen.uri}" in output
    assert "FLOPmodel" not in output
    done = sweep(config, "--calibrate-from", seen.uri)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = next(line for line in done.stdout.splitlines() if line.startswith("device time: "))
    assert re.search(r"together \S+ estimated, \S+ taken \(\S+%\) · held \S+$", verdict), verdict
    store = Store(str(tmp_path / "store"))
    (file,) = store.files("logs/runs", ".json")
    run = json.loads(store.read(file))
    assert sum(row["estimated_s"] for row in run["units"]) == pytest.approx(seconds)
    trained = sum(record.course.seconds for record in store.records().values())
    assert sum(row["actual_s"] for row in run["units"] if row["stage"] == "train") == pytest.approx(trained)
    assert run["held_s"] > sum(row["actual_s"] for row in run["units"])  # loading is in it


def test_a_store_that_nothing_can_be_learned_from_is_named(
    world: tuple[Path, Path], undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tasks = world
    config = make_config(tmp_path, [model], TASKS, LANGUAGES, tasks)
    seen = Store(str(undisturbed / "store"))
    torn, part = Store(str(tmp_path / "torn")), "results/scores/20260101T000000-torn.parquet"
    torn.write("study.yaml", seen.read("study.yaml"))
    torn.write(part, b"PAR1 and no more")
    cases = {
        str(tmp_path / "nowhere"): "holds no study",
        torn.uri: "damaged file",
        "s3://bucket/study?endpoint_override=http://127.0.0.1:9": "cannot be reached",
        "ftp://elsewhere/study": "is of no kind we know",
    }
    for uri, problem in cases.items():
        assert sweep_module.main([str(config), "--dry-run", "--calibrate-from", uri]) == 2
        error = capsys.readouterr().err
        assert f"error: --calibrate-from = {uri!r}: " in error
        assert "Traceback" not in error
        assert problem in error


def test_limit_marks_the_store_and_does_not_enter_a_full_one(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep_module.main([str(undisturbed / "study.yaml"), "--limit", "3"]) == 2
    assert "--set store=" in capsys.readouterr().err
    record = next(iter(Store(str(undisturbed / "store")).records().values()))
    assert record.files  # what was there is still whole, else reading it would raise
