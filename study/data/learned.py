"""Which documents a cell is trained on: its task's own or those of another set, and of these what is wanted."""

from __future__ import annotations

from study.cells import Cell
from study.config import TrainOverride
from study.data.gold import BadGold, row
from study.data.harness import Document, Documents, Task
from study.errors import TaskError


def train_documents(cell: Cell, task: Task, train: TrainOverride[str]) -> Documents:
    """Load the documents to train on. Raises TaskError, and whatever loading another set raises."""
    process = task.config.process_docs
    if train.dataset_path is not None:
        import datasets

        loaded: Documents = datasets.load_dataset(
            train.dataset_path, train.dataset_name, split=train.split or "train", revision=train.dataset_revision
        )
        return process(loaded) if train.process_docs and process is not None else loaded
    split = train.split or task.config.training_split or task.config.fewshot_split
    if split is None:
        raise TaskError(f"{cell}: its task has no training split; set tasks[{cell.task}].train.split or .dataset_path")
    if split not in task.dataset:
        raise TaskError(f"{cell}: its data has no split {split!r}, only {', '.join(task.dataset)}")
    documents = task.dataset[split]
    return process(documents) if process is not None else documents


def wanted(cell: Cell, task: Task, number: int, document: Document, where: str) -> bool:
    """Whether `train.where` lets a document pass. Raises TaskError where it says neither True nor False."""
    with row(cell, "train", number, document):
        said = str(task.doc_to_text(document, where))
        if said not in ("True", "False"):
            raise BadGold(f"train.where gives {said!r:.60}: write a comparison, {{{{ … }}}}, which gives True or False")
    return said == "True"
