"""Loading one task as lm-eval does, and saying in words of the user's why one cannot be loaded.

Invariant: cells of a CSV are read as they stand. pandas takes NA, None, null and nan for nothing, lm-eval leaves it to
pandas, and then a country's code or an answer is gone.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import datasets
from datasets.packaged_modules.csv.csv import Csv
from lm_eval.api.registry import METRIC_REGISTRY
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from study.cells import Cell
from study.config import TaskConfig, TrainOverride
from study.config.recipe import TaskScoring
from study.data.clipped import clipping
from study.data.gold import check_names, is_told, row
from study.data.group.task import GroupTask, members
from study.data.harness import Task
from study.data.metrics import want
from study.data.sets import is_empty
from study.errors import TaskError
from study.faults.network import Unreachable, is_network_trouble
from study.models.hub import one_per_node
from study.pulse import beat

LOCAL = ("csv", "json", "parquet", "text")  # whose data_files are of this machine, where they have no protocol
MIXED = "a column has values of several types, in one file or in several: write all as one, as texts say"
NO_PARQUET = "it is no Parquet file: write it anew, or name it after what it is"
GONE = (
    "the code of this task imports what transformers 5 no longer has: copy its YAML file without the `!function` "
    "lines, and name metrics in tasks[].metric"
)
FEWSHOT_SEED = 1234  # lm-eval's default `fewshot_random_seed`


def load_task(manager: TaskManager, name: str, cell: Cell, own: TaskConfig) -> Task:
    """Load a cell's task with its data. Raises TaskError, and Unreachable."""
    clips = clipping(cell, own.clip, not own.train.names_data)
    try:
        with one_per_node(f"data {name}"), csv_as_it_stands(), _beating(), clips:
            found = manager.load(name)
    except (TaskError, Unreachable):
        raise
    except Exception as error:  # a task runs its author's code and fetches data: anything can be raised
        if (made := _half_made(error)) is not None:
            _diagnose(made, cell)
        raise fault(f"{cell}: lm-eval task {name} cannot be loaded", error) from error
    with _of(cell):
        task = cast(Task, GroupTask(found["groups"][name]) if name in found["groups"] else found["tasks"][name])
        for one in members(task):
            _check_names(one)
    return task


def set_up(task: Task, cell: Cell, own: TaskConfig, shots: int | None) -> None:
    """Have a task ask and be judged as a config says: with so many `shots`, or where that is None as many as it states.

    Raises TaskError for what it cannot do.
    """
    for one in members(task):
        stated = one.get_config("num_fewshot")
        if stated is None or (stated != 0 and shots is not None):
            one.set_config(key="num_fewshot", value=shots or 0)
        check_shots(one, cell)
        set_answers(one, cell, own.scoring)
    want(task, cell, own.metrics)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)


def check_shots(task: Task, cell: Cell) -> None:
    """Raise TaskError where a task is to draw more few-shot examples than it has."""
    shots = int(task.get_config("num_fewshot"))
    rows = len(task.fewshot_docs() or ()) if shots else 0
    if shots > rows:
        fix = "lower scoring.num_fewshot, or name a larger fewshot_split in the task's YAML"
        raise TaskError(f"{cell}: {shots} few-shot examples are asked for, and there are {rows} to draw from: {fix}")


def set_answers(task: Task, cell: Cell, scoring: TaskScoring) -> None:
    """Have answers begin and end as a config says. Raises TaskError where the task's model writes none."""
    if scoring.gen_prefix is not None:
        shots = task.config.fewshot_config
        if shots.gen_prefix == task.get_config("gen_prefix"):  # the task's own, where its file says no more of examples
            shots.gen_prefix = scoring.gen_prefix
        task.set_config("gen_prefix", scoring.gen_prefix)
    own = scoring.model_dump(include={"max_gen_toks", "until"}, exclude_none=True)
    if own and task.OUTPUT_TYPE != "generate_until":
        key = f"{cell}: tasks[{cell.task}].scoring.{next(iter(own))}"
        raise TaskError(f"{key}: is of answers that are written, and this task is {task.OUTPUT_TYPE}: drop it")
    if own:
        stated = task.get_config("generation_kwargs") or {}
        limits = {key: list(value) if isinstance(value, tuple) else value for key, value in own.items()}
        task.set_config("generation_kwargs", {**stated, **limits})


def fault(what: str, error: Exception) -> TaskError | Unreachable:
    """Make the error to raise for a fault of a task (TaskError), or of a network (Unreachable)."""
    from huggingface_hub import constants

    reason = f"{what}: {why(error)}"
    passes = is_network_trouble(error) and not constants.HF_HUB_OFFLINE
    return Unreachable(reason) if passes else TaskError(reason)


def why(error: Exception) -> str:
    """Say in a line what a reader of data raised, and what mends it where that is known."""
    cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" else None  # which says nothing itself
    said = " ".join(str(cause or error).split())
    known = (
        ("codec can't decode", "save the file as UTF-8"),
        ("JSON parse error", "write one object, {…}, in each line"),
        ("Error tokenizing data", "write as many cells in each line as in the first; quote what has a comma in it"),
        ("corresponds to no data", "it has no rows: fill it, or leave it out"),
        ("Parquet magic bytes", NO_PARQUET),
        ("Parquet file size", NO_PARQUET),
        ("No module named 'transformers.", GONE),
        ("No module named", "its code imports that: install it beside this package"),
        ("Failed to parse string", MIXED),
        ("Couldn't cast", MIXED),
    )
    fixes = (fix for words, fix in known if words in said)
    return ": ".join([type(cause or error).__name__, f"{said:.400}", *list(fixes)[:1]])


@contextmanager
def csv_as_it_stands() -> Iterator[None]:
    """Within, whatever is made of CSV is read so: a file, a folder, or a set of the Hub."""
    made = Csv.__init__

    def __init__(self: Csv, *arguments: object, **options: object) -> None:  # what it replaces
        made(self, *arguments, **{"keep_default_na": False, **options})

    Csv.__init__ = __init__
    try:
        yield
    finally:
        Csv.__init__ = made


@contextmanager
def _beating() -> Iterator[None]:
    """Within, progress bars of `datasets` say each piece that has come, or was made ready, also where none is shown."""
    update = datasets.utils.tqdm.update

    def step(self: datasets.utils.tqdm, n: float | None = 1) -> bool | None:
        beat()
        shown: bool | None = update(self, n)
        return shown

    datasets.utils.tqdm.update = step
    try:
        yield
    finally:
        datasets.utils.tqdm.update = update


def _half_made(error: Exception) -> Task | None:
    """Find the task whose making has failed: lm-eval reads its data then, and tries its first document."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = frame.f_locals.get("self")
        if isinstance(found, ConfigurableTask) and found.config is not None:
            return cast(Task, found)
    return None


def _diagnose(task: Task, cell: Cell) -> None:
    """Raise TaskError for what is wrong with a task or its data, where that is known."""
    shots = task.get_config("num_fewshot")
    if shots is not None and not isinstance(shots, int):
        raise TaskError(f"{cell}: its num_fewshot is {shots!r}, not a whole number: mend the task's YAML")
    if not hasattr(task, "dataset"):
        _check_metrics(task, cell)
        _check_files(task, cell)
        return
    splits = {name: len(task.dataset[name]) for name in task.dataset}
    asked = [getattr(task.config, f"{kind}_split") for kind in ("test", "validation", "training", "fewshot")]
    for split in dict.fromkeys(split for split in asked if split is not None):
        if split not in splits:
            raise TaskError(f"{cell}: its data has no split {split!r}, only {', '.join(splits)}")
        if not splits[split]:
            raise TaskError(f"{cell}: its split {split!r} has no rows: fill it, or name another one in the task's YAML")
    if not hasattr(task, "features"):
        return
    with _of(cell):
        _check_names(task)
    with row(cell, "test", 0, task.eval_docs[0]):
        is_told(task, task.eval_docs[0])


def _check_metrics(task: Task, cell: Cell) -> None:
    """Raise TaskError for a metric of a name that lm-eval does not know: it would look for it on the Hub."""
    for entry in task.get_config("metric_list") or ():
        name = entry.get("metric")
        if isinstance(name, str) and name not in METRIC_REGISTRY and not entry.get("hf_evaluate"):
            near = difflib.get_close_matches(name, METRIC_REGISTRY, n=3)
            fix = f"did you mean {', '.join(near)}?" if near else "write a function: metric: !function file.name"
            raise TaskError(f"{cell}: lm-eval has no metric {name!r}: {fix}")


def _check_files(task: Task, cell: Cell) -> None:
    """Raise TaskError for a file of data that is not there, or is empty: its reader says so in words of its own."""
    options = task.config.dataset_kwargs or {}
    files, are_ours = options.get("data_files"), task.get_config("dataset_path") in LOCAL and "data_dir" not in options
    for split, names in files.items() if isinstance(files, dict) else ():
        for name in names if isinstance(names, list) else [names]:
            if are_ours and not Path(name).exists() and not ("://" in name or set("*?[") & set(name)):
                where = f"no such file; it is looked for from the folder you run in, {Path.cwd()}"
                raise TaskError(f"{cell}: data_files of its split {split!r} = {name!r}: {where}: write its whole path")
            if Path(name).is_file() and is_empty(Path(name)):
                raise TaskError(f"{cell}: its split {split!r} has no rows: {name} is empty; fill it, or leave it out")


def _check_names(task: Task) -> None:
    """Check the names that a task states; one of its own options is a text that is meant."""
    own = {key: getattr(task.config, key) for key in ("doc_to_text", "doc_to_choice", "doc_to_target")}
    options = own["doc_to_choice"]
    texts = options if isinstance(options, list) else list(options.values()) if isinstance(options, dict) else []
    check_names(task.features, **{key: name for key, name in own.items() if name not in texts})


@contextmanager
def _of(cell: Cell) -> Iterator[None]:
    try:
        yield
    except TaskError as error:
        raise TaskError(f"{cell}: {error}") from error


def nothing_left(cell: Cell, split: str, asked: int, train: TrainOverride[str], is_scored: bool) -> TaskError:
    """Say why none of a cell's rows can be used: `asked` are those that its manifest and `where` let pass."""
    none = "its split has no rows" + (" that train.where lets pass" if train.where else "")
    all_of = f"all {asked:,} rows of its split are"
    told_by_format = split == "train" and train.format is not None
    why = (f"{all_of} empty" if told_by_format else f"the labels of {all_of} hidden") if asked else none
    if not asked and train.rows_of is not None:
        why = f"it has none of the rows of {train.rows_of} (train.rows_of), by train.id_field"
    what = "example to train on" if split == "train" else "item to score"
    fix = "name another split in the task's YAML" if is_scored else "name other data"
    return TaskError(f"{cell}: no {what}: {why}; {fix}")
