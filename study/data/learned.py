"""Which documents a cell is trained on: its task's own or those of another set, and of these what is wanted."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from study.cells import Cell
from study.config import TrainOverride
from study.data.clipped import Fields, check_there, clipped
from study.data.formats import rendered
from study.data.gold import BadGold, row
from study.data.group.document import Doc
from study.data.group.task import GroupTask
from study.data.harness import Document, Documents, Task
from study.data.loading import csv_as_it_stands, why
from study.data.sets import is_empty
from study.errors import TaskError

BUILDERS = {
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".arrow": "arrow",
}
PACKED = (".gz", ".zst", ".xz", ".bz2")
SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves in a folder


def train_documents(cell: Cell, task: Task | None, train: TrainOverride[str], clip: Fields) -> Documents:
    """Load the documents to train on, clipped. Raises TaskError, and whatever loading another set raises."""
    process = None if task is None else task.config.process_docs
    if train.names_data:
        loaded = _clipped(cell, task, _other(cell, train), clip)
        return process(loaded) if train.process_docs and process is not None else loaded
    if isinstance(task, GroupTask):
        each = [train_documents(cell, one, train, clip) for one in task.members]
        return [Doc(doc, one, n) for n, one in enumerate(task.members) for doc in each[n]]
    if task is None:
        raise TaskError(f"{cell}: no data to learn from are named: set tasks[{cell.task}].train.data_files")
    split = train.split or task.config.training_split or task.config.fewshot_split
    if split is None:
        raise TaskError(f"{cell}: its task has no training split; set tasks[{cell.task}].train.split or .dataset_path")
    if split not in task.dataset:
        raise TaskError(f"{cell}: its data has no split {split!r}, only {', '.join(task.dataset)}")
    documents = task.dataset[split]
    return process(documents) if process is not None else documents


def wanted(cell: Cell, number: int, document: Document, where: str) -> bool:
    """Whether `train.where` lets a document pass. Raises TaskError where it says neither True nor False."""
    with row(cell, "train", number, document):
        said = str(rendered(document, where))
        if said not in ("True", "False"):
            raise BadGold(f"train.where gives {said!r:.60}: write a comparison, {{{{ … }}}}, which gives True or False")
    return said == "True"


def _clipped(cell: Cell, task: Task | None, loaded: Documents, clip: Fields) -> Documents:
    """Rows of other data with long fields cut; each of these is theirs or the task's own, which are clipped by now."""
    if not clip or not len(loaded):
        return loaded
    key, there = f"{cell}: tasks[{cell.task}].clip", dict.fromkeys(loaded[0])
    for split in task.dataset.values() if task is not None else ():
        there |= dict.fromkeys(split[0] if len(split) else ())
    check_there(clip, list(there), key)
    return clipped(loaded, clip, key)


def _other(cell: Cell, train: TrainOverride[str]) -> Documents:
    """Documents of a set that the config names: of the Hub, of files, or of a folder that `save_to_disk` made."""
    import datasets

    key, split = f"{cell}: tasks[{cell.task}].train", train.split or "train"
    if train.dataset_path is not None and any((Path(train.dataset_path) / name).is_file() for name in SAVED):
        saved = datasets.load_from_disk(train.dataset_path)
        _check_saved(key, train, isinstance(saved, datasets.Dataset))
        if isinstance(saved, datasets.Dataset):
            whole: Documents = saved
            return whole
        if split not in saved:
            raise TaskError(f"{key}.split: {split!r} is no split of {train.dataset_path}, only {', '.join(saved)}")
        documents: Documents = saved[split]
        return documents
    options: dict[str, object] = {}
    builder = train.dataset_path
    if builder in BUILDERS.values() and train.data_files is None:  # which would read whatever lies here
        raise TaskError(f"{key}.dataset_path: {builder!r} is what reads files, and none are named: set data_files")
    if train.data_files is not None:
        builder = builder or _builder(key, train.data_files)
        if builder in BUILDERS.values():
            _check_there(key, train.data_files)
            options = {"data_files": {split: train.data_files}}
        else:
            options = {"data_files": train.data_files}
        if builder == "csv" and train.data_files.endswith((".tsv", ".tsv.gz")):
            options["delimiter"] = "\t"
        if builder == "text" and train.dataset_path is None:  # its reader would make a text of each line
            options["sample_by"] = "document"
    try:
        with csv_as_it_stands():
            loaded: Documents = datasets.load_dataset(
                builder, train.dataset_name, split=split, revision=train.dataset_revision, **options
            )
    except Exception as error:  # readers of data: anything can be raised
        if train.data_files is None or "://" in train.data_files or builder not in BUILDERS.values():
            raise
        raise TaskError(f"{key}.data_files: {train.data_files} cannot be read: {why(error)}") from error
    return loaded


def _check_saved(key: str, train: TrainOverride[str], is_one: bool) -> None:
    """Raise TaskError for keys that say nothing of what `save_to_disk` left: a set of splits, or one alone."""
    for name in ("dataset_name", "dataset_revision", "data_files", *(["split"] if is_one else [])):
        if getattr(train, name) is not None:
            what = "one set without splits" if is_one else "a set of splits"
            raise TaskError(f"{key}.{name}: {train.dataset_path} is {what}, saved as it is: leave the key out")


def _builder(key: str, files: str) -> str:
    """What reads files of such a name."""
    name = files
    while (suffix := Path(name).suffix) in PACKED:
        name = name.removesuffix(suffix)
    if Path(files).is_dir():
        raise TaskError(f"{key}.data_files: {files!r} is a folder: write {files.rstrip('/')}/*.txt, say")
    if suffix not in BUILDERS:
        known = ", ".join(BUILDERS)
        raise TaskError(
            f"{key}.data_files: {files!r}: its name does not say what it is; known are {known}: or set dataset_path"
        )
    return BUILDERS[suffix]


def _check_there(key: str, files: str) -> None:
    """Raise TaskError for a local file that is not there, or is empty: its reader says so in words of its own."""
    if "://" in files:
        return
    if not (glob(files, recursive=True) if any(mark in files for mark in "*?[") else Path(files).exists()):
        raise TaskError(f"{key}.data_files: no such file: {files} (working directory: {Path.cwd()})")
    if Path(files).is_file() and is_empty(Path(files)):
        raise TaskError(f"{key}.data_files: {files} has no rows: fill it, or leave its language out")
