"""Answers written as lm-eval logs them, beside the files that lm-eval itself writes of the same model and adapter."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluators import samples
from evaluators.evaluator import Evaluator, Settings
from evaluators.items.judge import BOOTSTRAP_ITERATIONS
from study import prompts
from study.cells import Cell
from study.config import Scoring, TaskConfig, Validation
from study.identity import score_id
from study.models.resolve import Model
from study.store import schema
from study.store.compaction import compact
from study.store.layout import ITEMS, PROMPTS, way_in
from study.store.records import StoredModel, StudyFile
from study.store.store import Store
from study.store.study_file import write_study
from study.units import AdapterUnit, ScoreUnit
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task

TOLERANCE = 1e-3  # nats
SPLITS = {"test": "quiz", "train": "quiz", "validation": "chosen"}  # of the quiz: which task's data they are
GROUPED = ("first", "second")
LACKING = ("bare",)  # it asks for what a store does not keep
WITHOUT = {"exact": "exact_match", "told": "acc"}  # metrics of that, which are left out of what is written
OWN = {  # what is of the run, not of the answers
    "date", "start_time", "end_time", "total_evaluation_time_seconds", "config", "model_name", "model_name_sanitized",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Any:
    """`pip list` takes longer than all the rest."""
    from torch.utils import collect_env

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect_env, "get_pretty_env_info", lambda: "here")
        yield


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskConfig, ...]:
    folder = tmp_path_factory.mktemp("tasks")
    write_task(folder, "chosen_en", make_docs(5, 6))
    splits = {name: str(folder / f"{name_of}_en.jsonl") for name, name_of in SPLITS.items()}
    write_task(folder, "quiz_en", make_docs(8, 1), dataset_kwargs={"data_files": splits}, validation_split="validation")
    text = {"output_type": "loglikelihood", "doc_to_choice": None, "doc_to_target": " {{choices[0]}}"}
    for name in ("text", "told"):
        lists = [{"metric": "perplexity"}, {"metric": "acc"}]
        write_task(folder, f"{name}_en", make_docs(6, 2), **text, metric_list=lists)
    bare = [{"metric": metric} for metric in ("acc", "acc_mutual_info")]
    write_task(folder, "bare_en", make_docs(4, 3), metric_list=bare)
    for name in ("exact", "kept"):
        lists = [{"metric": "acc"}, {"metric": "exact_match"}]
        write_task(folder, f"{name}_en", make_docs(6, 7), metric_list=lists)
    write_task(folder, "chat_en", make_docs(8, 4))
    answer = {"output_type": "generate_until", "doc_to_choice": None, "doc_to_target": "{{choices[0]}}"}
    until = {"generation_kwargs": {"until": ["."], "max_gen_toks": 6, "do_sample": False}}
    write_task(folder, "write_en", make_docs(6, 5), **answer, **until, metric_list=[{"metric": "exact_match"}])
    for name, count in (("first", 4), ("second", 6)):
        write_task(folder, name, make_docs(count, count + 9))
    group = {"group": "group_en", "task": ["first", "second"], "aggregate_metric_list": [{"metric": "acc"}]}
    (folder / "group_en.yaml").write_text(yaml.safe_dump(group), encoding="utf-8")
    own: dict[str, dict[str, Any]] = {"chat": {"scoring": {"apply_chat_template": True}}}
    own |= {"told": {"metric": ("perplexity",)}, "kept": {"metric": ("acc", "exact_match")}}
    return tuple(
        TaskConfig(**{"name": n, "lm_eval": f"{n}_{{language}}", "include_path": str(folder), **own.get(n, {})})
        for n in ("quiz", "text", "bare", "exact", "kept", "told", "chat", "write", "group")
    )


@pytest.fixture(scope="module")
def adapter(outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(outspoken_model, tmp_path_factory.mktemp("adapter"), seed=5)


@pytest.fixture(scope="module")
def store(
    asked: tuple[TaskConfig, ...], outspoken_model: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    """Base and adapter scored on these tasks, the quiz also to choose a lambda by, and as it was asked before."""
    found, scoring = Store(str(tmp_path_factory.mktemp("samples") / "store")), Scoring(num_fewshot=1, limit=5)
    unit = put_adapter(found, adapter, "a")
    cells = [*(Cell(task.name, "en") for task in asked), Cell("quiz", "en", held_out=True)]
    now = Settings(asked, scoring, 512, languages=("en",), validation=Validation())
    before = replace(now, scoring=scoring.model_copy(update={"num_fewshot": 0}))
    for settings, some, how in ((now, cells, ""), (before, cells[:1], " before")):
        evaluator = Evaluator(base_in(outspoken_model), found, settings)
        assert all(one.ok for one in evaluator.score([named(cell, who, how) for who in (None, unit) for cell in some]))
    config = {"study": "s", "models": [{"id": str(outspoken_model), "name": "tiny", "dtype": "float32"}]}
    config |= {"languages": ["en"], "tasks": [task.model_dump(mode="json") for task in asked]}
    config |= {"scoring": {"num_fewshot": 1, "limit": 5}}
    write_study(found, StudyFile(config, (StoredModel("tiny", params=1),)))
    about = dict.fromkeys(schema.SUBJECTS.names) | {"model": "tiny", "model_params": 30_000}
    source = {"source_task": "quiz", "source_language": "xx", "seed": 1}
    subjects = [about | {"subject_id": "base"}, about | source | {"subject_id": "a", "adapter_id": "a"}]
    targets = [{"target_id": str(cell), "target_task": cell.task, "target_language": "en"} for cell in cells]
    tables = schema.table(schema.SUBJECTS, subjects), schema.table(schema.TARGETS, targets)
    found.write_grid(*tables, held_out=[str(cells[-1])])
    return found


def base_in(folder: Path) -> Model:
    """The model, by the identity of the units that are its own."""
    return replace(model_of(folder), identity="base")


def named(cell: Cell, who: AdapterUnit | None, how: str) -> ScoreUnit:
    """A unit with the identities of a study; `how` it is asked is a part of the target's."""
    unit, target = unit_of(cell, who), f"{cell}{how}"
    return replace(unit, target_id=target, score_id=score_id(unit.subject_id, target))


@pytest.fixture(scope="module")
def written(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held are the answers of one subject at a time."""
    out, bars = tmp_path_factory.mktemp("logged") / "out", io.StringIO()
    held: list[int] = []
    opened: list[int] = []
    honest = Store.parquet_files

    def opens(self: Store, files: Iterable[str]) -> Iterator[Any]:
        names = [*files]
        opened.extend([len(names)] if names[0].startswith(f"{ITEMS}/") else [])
        return honest(self, names)

    with redirect_stderr(bars), redirect_stdout(bars), pytest.MonkeyPatch.context() as patch:
        read = samples.Kept.of
        patch.setattr(samples.Kept, "of", lambda self, some: held.append(len(some)) or read(self, some))
        patch.setattr(Store, "parquet_files", opens)
        patch.setattr(samples, "MOST_ANSWERS", 60)
        told = samples.write(store, out)
    assert held == [1, 1]
    assert opened == [2, 1, 1]  # to see what is where, and then only what has answers to what is asked now
    assert bars.getvalue() == f"tiny: the base and 1 adapters, in {out}\n"
    assert all("does not keep" in one for one in told.not_written)
    refused = sorted(one.partition(":")[0].rpartition(", ")[2] for one in told.not_written)
    assert refused == [f"{name}/en" for name in LACKING for _ in ("base", "adapter")]
    assert [one.partition(" is left out")[0] for one in told.left_out] == [
        f"tiny, {name}/en: its {metric}" for name, metric in WITHOUT.items()
    ]
    return out


def theirs(
    model: Path, adapter: Path | None, task: TaskConfig, out: Path, rows: list[int] | dict[str, list[int]]
) -> Path:
    """What `lm_eval --log_samples` writes; of a group by `rows` of each of its tasks."""
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.loggers.utils import add_env_info
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    name = str(task.lm_eval_name("en"))
    peft = str(adapter) if adapter else None
    lm, chat = HFLM(pretrained=str(model), peft=peft, dtype="float32", device="cpu", batch_size=4), task.name == "chat"
    tracker = EvaluationTracker(output_path=str(out))
    template = lm.chat_template(True) if chat else None
    tracker.general_config_tracker.log_experiment_args("hf", {"peft": peft or str(model)}, None, template, chat)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "add_env_info", add_env_info)  # which other tests leave out
        results = simple_evaluate(
            model=lm,
            model_args={"pretrained": str(model)},
            tasks=[name],
            task_manager=TaskManager(include_path=task.include_path, include_defaults=False),
            num_fewshot=1,
            samples=rows if isinstance(rows, dict) else {name: rows},
            bootstrap_iters=BOOTSTRAP_ITERATIONS,
            log_samples=True,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )
    found = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=found)
    for one in found:
        tracker.save_results_samples(task_name=one, samples=found[one])
    return next(out.iterdir())


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    (file,) = folder.glob(name)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def result(folder: Path, task: str) -> dict[str, Any]:
    for file in folder.glob("results_*.json"):
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if task in found["results"]:
            return found
    raise AssertionError(f"nothing of {task}")


@pytest.mark.parametrize(
    ("name", "of_adapter"),
    [*((name, who) for name in ("quiz", "text", "chat", "write") for who in (False, True)),
     ("exact", True), ("kept", True), ("told", False)],
)  # fmt: skip
def test_files_are_as_lm_eval_writes_them(
    name: str,
    of_adapter: bool,
    store: Store,
    written: Path,
    asked: Any,
    outspoken_model: Path,
    adapter: Path,
    tmp_path: Path,
) -> None:
    """Key by key; but for what a store does not keep, value by value."""
    task = next(one for one in asked if one.name == name)
    ours = next(path for path in written.iterdir() if ("seed1-a" in path.name) is of_adapter)
    mine = read(ours, f"samples_{name}_en_*.jsonl")
    rows = [sample["doc_id"] for sample in mine]
    assert len(rows) == 5
    lm_evals = theirs(outspoken_model, adapter if of_adapter else None, task, tmp_path / "out", rows)
    other = read(lm_evals, "samples_*.jsonl")
    without = WITHOUT.get(name)
    for sample, expected in zip(mine, other, strict=True):
        if without is not None:
            del expected[without]
            expected["metrics"].remove(without)
        assert list(sample) == list(expected)
        for key in sample.keys() - {"resps", "filtered_resps", "perplexity"}:
            assert sample[key] == expected[key], key
        for told, wanted in zip(sample["resps"], expected["resps"], strict=True):
            if name == "write":
                assert told == wanted
                continue
            assert float(told[0][0]) == pytest.approx(float(wanted[0][0]), abs=TOLERANCE)
            assert told[0][1] in ("None", wanted[0][1])
        if name == "kept":
            assert [one[0][1] != "None" for one in sample["resps"]].count(True) == 1
        if name == "text":
            assert "None" not in str(sample["resps"])
    told, wanted = result(ours, f"{name}_en"), result(lm_evals, f"{name}_en")
    assert told.keys() == wanted.keys()
    assert told["config"].keys() - {"peft_sha"} == wanted["config"].keys() - {"peft_sha"}
    for key in told.keys() - OWN - {"results", "task_hashes"}:
        if isinstance(told[key], dict):
            assert told[key].get(f"{name}_en") == wanted[key].get(f"{name}_en"), key
        else:
            assert told[key] == wanted[key], key
    assert told["task_hashes"][f"{name}_en"] == wanted["task_hashes"][f"{name}_en"]
    for metric, value in wanted["results"][f"{name}_en"].items():
        if without is not None and metric.startswith((f"{without},", f"{without}_stderr,")):
            assert metric not in told["results"][f"{name}_en"]
            continue
        found = told["results"][f"{name}_en"][metric]
        assert found == (pytest.approx(value, rel=5e-3) if isinstance(value, float) else value)


def test_of_a_group_each_task_has_its_file_and_the_group_its_number(
    written: Path, store: Store, outspoken_model: Path, asked: Any, tmp_path: Path
) -> None:
    ours = next(path for path in written.iterdir() if "seed1-a" not in path.name)
    task = next(one for one in asked if one.name == "group")
    mine = {name: read(ours, f"samples_{name}_*.jsonl") for name in GROUPED}
    assert sum(map(len, mine.values())) == 5
    assert all(mine.values())
    rows = {name: [sample["doc_id"] for sample in own] for name, own in mine.items()}
    folder = theirs(outspoken_model, None, task, tmp_path / "out", rows)
    for name, own in mine.items():
        told = [(one["doc_hash"], one["target"], one["acc"]) for one in own]
        assert told == [(one["doc_hash"], one["target"], one["acc"]) for one in read(folder, f"samples_{name}_*.jsonl")]
    told, wanted = (result(place, "group_en") for place in (ours, folder))
    for name in ("group_en", *GROUPED):
        assert told["results"][name]["acc,none"] == pytest.approx(wanted["results"][name]["acc,none"])
        assert told["n-shot"][name] == wanted["n-shot"][name]
    assert told["group_subtasks"]["group_en"] == wanted["group_subtasks"]["group_en"] == [*GROUPED]


def test_items_that_have_changed_are_refused(
    store: Store, asked: tuple[TaskConfig, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(str(asked[0].include_path))
    data = folder / "quiz_en.jsonl"
    before = data.read_text(encoding="utf-8")
    try:
        write_task(folder, "quiz_en", make_docs(8, 99))
        code = samples.main([store.uri, "--to", str(tmp_path / "out"), "--sources", "quiz/xx", "--json"])
    finally:
        data.write_text(before, encoding="utf-8")
    troubles = json.loads(capsys.readouterr().out)["not_written"]
    assert (code, len(troubles)) == (1, 2 + 2 * len(LACKING))
    assert sum("have changed since" in one for one in troubles) == 2
    assert not list((tmp_path / "out").rglob("samples_quiz*"))


def test_bad_input_is_a_line(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("x")
    nowhere = str(tmp_path / "no")
    for wrong in (
        [store.uri, "--to", str(tmp_path)],
        [nowhere, "--to", nowhere],
        [store.uri, "--to", nowhere, "--sources", "a/b"],
        [store.uri, "--to", nowhere, "--sources", ","],
        [store.uri, "--to", "s3://bucket/x"],
    ):
        assert samples.main(wrong) == 2
        assert "fix:" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["quiz", "text", "chat", "write"])
def test_what_was_asked_is_kept_once_as_lm_eval_asks_it(name: str, store: Store, written: Path, asked: Any) -> None:
    files = [file for file in store.files(PROMPTS, ".parquet", recursive=True) if file.startswith(f"{PROMPTS}/{name}/")]
    now = [file for file in files if "before" not in file and "held out" not in file]
    (file,) = now
    assert (way_in(file)[1] == "base") is (name == "chat")  # a model's own template asks it
    rows = {row["doc_id"]: row for row in prompts.read(store, file).to_pylist()}
    ours = next(path for path in written.iterdir() if "seed1-a" not in path.name)
    samples_of = read(ours, f"samples_{name}_en_*.jsonl")
    assert len(rows) == len(samples_of) == 5
    for sample in samples_of:
        row = rows[sample["doc_id"]]
        if name == "write":
            assert row["prompt"] == sample["arguments"]["gen_args_0"]["arg_0"]
            assert (row["options"], row["reference"]) == ([], sample["target"])
            continue
        asked_for = [(one["arg_0"], one["arg_1"]) for one in sample["arguments"].values()]
        assert [(row["prompt"], option) for option in row["options"]] == asked_for
        assert row["reference"] is None


def test_what_is_asked_in_a_chat_is_kept_by_adapters_that_are_asked_as_their_base(
    store: Store, asked: tuple[TaskConfig, ...], outspoken_model: Path, adapter: Path, tmp_path: Path
) -> None:
    """Where it is lost, the base is scored already."""
    alone, chat = Store(str(tmp_path / "store")), tuple(task for task in asked if task.name == "chat")
    unit = named(Cell("chat", "en"), put_adapter(alone, adapter, "a"), "")
    settings = Settings(chat, Scoring(num_fewshot=1, limit=5), 512, languages=("en",), validation=Validation())
    assert all(one.ok for one in Evaluator(base_in(outspoken_model), alone, settings).score([unit]))
    kept = [file for file in store.files(PROMPTS, ".parquet", recursive=True) if file.startswith(f"{PROMPTS}/chat/")]
    assert list(alone.files(PROMPTS, ".parquet", recursive=True)) == kept != []


def test_answers_are_found_where_they_lie_since_parts_were_put_together(store: Store, tmp_path: Path) -> None:
    copy = Store(str(shutil.copytree(store.uri, tmp_path / "store")))
    kept = samples.Kept(copy, samples._asked(copy, None)[1])
    subjects = list(kept.counts())
    before, parts = kept.of(subjects), copy.parts(ITEMS)
    compact(copy, wait=lambda _: None)
    assert not {*copy.parts(ITEMS)} & {*parts}
    assert kept.of(subjects) == before
    assert len(subjects) == len(before) == 2
