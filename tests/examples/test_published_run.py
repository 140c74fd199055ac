"""The published study from its file to its scores: all of its 44 tasks, by the command that a person gives.

The file is the preset's own. Where it runs lie folders of the names that it gives: made rows of the sets' fields and
types, tiny random stand-ins of the models.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import datasets
import polars as pl
import pytest
import yaml

from analysis.page import headline
from analysis.reading.study import load_store
from analysis.tables.registry import TABLES, make_all
from orchestrator import sweep as command
from study.cells import Cell, Source
from study.config.file import load
from study.data.prints import beside, plain
from study.data.tasks import TaskLibrary
from study.store.layout import ADAPTERS, ITEMS, SCORES
from study.store.store import Store
from tests.support.families import NINE, make_nine
from tests.support.published import (
    ELSEWHERE,
    NEW_LANGUAGES,
    ORIGINALS,
    REVISIONS,
    make_data,
    make_manifests,
    make_originals,
)
from tests.support.rows import done_scores
from tests.support.tiny_world import REPOSITORY, sweep

TRAIN, TEST = 12, 5
SOURCES = ["arc_challenge/hi", "global_mmlu/zh", "hellaswag/en", "truthfulqa/ar"]
PRESET = REPOSITORY / "examples" / "donors_and_recipients" / "study.yaml"
V1 = PRESET.with_name("v1_languages.yaml")
SMALLER = (
    f"sources={SOURCES}",
    "models=[{id: meta-llama/Llama-3.2-1B-Instruct}]",
    "seeds=[17]",
    "store=store",
    "training={resources_per_worker: {CPU: 1}, gang_size: 8}",
    "evaluators={resources: {CPU: 1}, min: 1, max: 1}",
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the study is run."""
    folder = make_nine(make_data(tmp_path_factory.mktemp("published"), TRAIN, TEST))
    make_manifests(make_originals(folder, TRAIN, TEST) / "Donors-and-Recipients", TRAIN, TEST)
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    shutil.copy(PRESET, folder)  # without its sizes
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))  # of evaluators: rows of another run lie in the user's
        yield folder


@pytest.fixture(scope="module")
def done(here: Path) -> Store:
    """Four adapters, one of each task, scored on all 44 targets, as their base is."""
    ended = sweep(here / "study.yaml", *(part for one in SMALLER for part in ("--set", one)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Store(str(here / "store"))


def test_the_preset_as_it_is_is_planned_on_all_its_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole: nine models, 1,188 adapters; nothing is broken, and no model is refused."""
    assert command.main([str(here / "study.yaml"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "BROKEN" not in out
    nothing = ["0", "0", "0"]
    assert standing(out) == {name.partition("/")[2]: [*nothing, "132", *nothing, "5,852"] for name in NINE}


def test_every_one_of_the_44_tasks_is_scored(done: Store) -> None:
    scores = pl.DataFrame(pl.from_arrow(done.scores()))
    cells = load("study.yaml").cells()
    assert len(cells) == 44
    asked = {(cell.task, cell.language): 5 for cell in cells}
    found = scores.unique("score_id").group_by("target_task", "target_language").len().rows()
    assert {(task, language): count for task, language, count in found} == asked
    assert set(scores["n_items"]) == {TEST}
    metrics = Counter(scores["metric"])
    assert metrics == {"acc": 5 * 44, "acc_norm": 5 * 22}  # of ARC and HellaSwag
    assert scores["value"].is_between(0, 1).all()
    assert scores["day_fixed"].all()
    items = pl.DataFrame(pl.from_arrow(done.items()))
    assert len(items) == 5 * 44 * TEST
    assert items["loglikelihoods"].list.eval(pl.element().is_finite()).list.all().all()


def test_every_task_is_trained_on_by_the_released_recipe(done: Store) -> None:
    """Of 12 rows, or of ARC's 11 whose answer is one of the four, a tenth is held out, rounded up."""
    records = {record.source[0]: record for record in done.records().values()}
    assert sorted(records) == SOURCES
    for source, record in records.items():
        counted = 11 if source.startswith("arc") else 12
        assert (record.course.examples.train, record.course.examples.validation) == (counted - 2, 2)
        assert record.recipe == load("study.yaml").recipe.model_dump(mode="json")


def test_each_of_the_44_sources_is_trained(here: Path) -> None:
    """In one gang. Each has learned something: on a target it says another thing than the base."""
    every = (*SMALLER, "sources=all", "targets=[arc_challenge/en]", "store=every", "training.gang_size=44")
    ended = sweep(here / "study.yaml", *(part for one in every for part in ("--set", one)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    store = Store(str(here / "every"))
    records = {record.source[0]: record for record in store.records().values()}
    assert sorted(records) == sorted(str(cell) for cell in load("study.yaml").cells())
    for source, record in records.items():
        held_out, learned = record.course.examples.validation, record.course.examples.train
        assert (held_out, held_out + learned) == (2, 11 if source.startswith("arc") else 12)
        assert [math.isfinite(epoch.train_loss) for epoch in record.course.epochs] == [True] * 3
    items = pl.DataFrame(pl.from_arrow(store.items()))
    said = {key: group.sort("doc_id")["loglikelihoods"].to_list() for (key,), group in items.group_by("adapter_id")}
    assert set(said) == {None, *store.records()}
    assert not any(said[None] == said[adapter] for adapter in store.records())


def test_languages_are_added_to_a_finished_store_and_nothing_of_it_is_done_again(done: Store, here: Path) -> None:
    """Two new sources and ten new targets: their adapters are trained, and the cells that are new are scored."""
    shutil.copytree(here / "store", here / "longer")
    longer = Store(str(here / "longer"))
    before = results_of(longer)
    added = ["arc_challenge/nl", "global_mmlu/ja"]
    arguments = (*SMALLER, f"sources={[*SOURCES, *added]}", "store=longer")
    ended = sweep(V1, *(part for one in arguments for part in ("--set", one)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    of_adapters, of_scores = ["4", "0", "0", "2"], ["220", "0", "0", f"{5 * 10 + 2 * 54}"]
    assert standing(ended.stdout) == {"Llama-3.2-1B-Instruct": of_adapters + of_scores}
    after = results_of(longer)
    assert {name: after.get(name) for name in before} == before
    assert {record.source[0] for record in longer.records().values()} == {*SOURCES, *added}
    scores = pl.DataFrame(pl.from_arrow(longer.scores()))
    new = scores.filter(~pl.col("score_id").is_in(list(done_scores(done)))).unique("score_id")
    assert len(new) == 5 * 10 + 2 * 54
    known = {(None, None), *(tuple(source.split("/")) for source in SOURCES)}
    targets = [Cell(*row) for row in new.select("target_task", "target_language").rows()]
    old = set(load("study.yaml").cells())
    again = zip(new.select("source_task", "source_language").rows(), targets, strict=True)
    assert not any(source in known and target in old for source, target in again)
    assert set(targets) - old == {Cell(task, language) for task, some in NEW_LANGUAGES.items() for language in some}
    study = load_store(longer.uri)
    assert (study.done, study.expected) == (220 + len(new), 220 + len(new))
    assert "6 sources, 54 targets" in "".join(headline.lines(study, make_all(TABLES, study)))


def results_of(store: Store) -> dict[str, str]:
    """What adapters and results consist of: the digest of each file."""
    files = [*store.files(ADAPTERS, "", recursive=True), *store.parts(ITEMS), *store.parts(SCORES)]
    return {file: hashlib.sha256(store.read(file)).hexdigest() for file in files}


def test_the_original_sets_give_the_studys_rows_in_every_cell(here: Path) -> None:
    """By the manifests: equal examples, so that adapters have the same ids, and equal items."""
    config, original = (load(PRESET.parent / name) for name in ("study.yaml", "upstream.yaml"))
    mine, theirs = TaskLibrary.of(config), TaskLibrary.of(original)
    for one in (mine, theirs):
        one.check(config.cells())
    assert original.cells() == config.cells()
    for cell in config.cells():
        source = Source.of([cell])
        assert theirs.example_fingerprints(source) == mine.example_fingerprints(source)
        asked, found = (
            sorted(repr(plain([i.args, beside(one.load(cell), i.doc)])) for i in one.build_requests(cell))
            for one in (mine, theirs)
        )
        assert found == asked


def test_the_original_sets_are_those_of_the_release() -> None:
    """As listed in its code: which set, which revision, which splits."""
    folder, config, stated = PRESET.parent / "upstream", load(PRESET), {}
    for file in folder.glob("[!_]*.yaml"):
        own = yaml.safe_load(file.read_text())
        base = yaml.safe_load((folder / own.pop("include")).read_text())
        whole = {"test_split": "test", "training_split": "train", **base, **own}
        splits = whole["training_split"], whole["test_split"]
        stated[own["task"]] = (whole["dataset_path"], whole["dataset_kwargs"]["revision"], *splits, own["dataset_name"])
    assert len(stated) == 44
    for cell in config.cells():
        name = str(config.task(cell.task).lm_eval_name(cell.language))
        path, learned, scored = ORIGINALS[cell.task]
        if (cell.task, cell.language) in ELSEWHERE:
            path, learned = ELSEWHERE[cell.task, cell.language]
            scored = learned
        language = None if path.endswith("truthfulqa_en_aligned") else cell.language
        assert stated[name] == (path, REVISIONS[path], learned, scored, language)


def standing(out: str) -> dict[str, list[str]]:
    """By model: adapters done, stale, failed, to do; scores likewise."""
    rows = [line.replace("│", " ").split() for line in out.splitlines() if line.startswith("│")]
    return {row[0]: [*row[2:], *rows[i + 1][1:]] for i, row in enumerate(rows) if row[1:2] == ["adapters"]}
