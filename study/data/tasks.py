"""Tasks as lm-eval defines them: what is scored, and what is trained on.

Cells map to lm-eval task names; lm-eval loads the data and renders the requests, so scores are comparable with
published ones by construction. Training examples come from the same definition or from its `train:` override.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from study.cells import Cell
from study.config import Scoring, StudyConfig, TaskConfig, TrainOverride, Validation
from study.data.catalogue import Catalogue
from study.data.changed import SourceExamples, in_place
from study.data.example import Example
from study.data.formats import check_columns, learned
from study.data.gold import answer, is_told, row, writes_null
from study.data.harness import Document, Documents, Instance, Task
from study.data.held_out import asks, check_apart, check_own, held_out, own_split
from study.data.learned import train_documents
from study.data.loading import FEWSHOT_SEED, fault, load_task, nothing_left, set_up
from study.data.metrics import check_possible
from study.data.needs import missing_manifests
from study.data.prints import fingerprint
from study.data.raw_text import RawTexts
from study.data.rows import Rows, Split, Tells, of_group
from study.data.templates import use_sandbox
from study.errors import TaskError
from study.faults.network import Unreachable

logging.getLogger("lm_eval").setLevel(logging.CRITICAL)  # what is wrong with a task is told in words of ours
use_sandbox()


class TaskLibrary(SourceExamples):
    """The lm-eval tasks of a study. Tasks are loaded on first use and kept."""

    def __init__(
        self,
        tasks: Sequence[TaskConfig],
        scoring: Scoring,
        languages: Sequence[str] = (),
        validation: Validation | None = None,
        texts: Collection[Cell] = (),
    ) -> None:
        """`languages` are the study's; the first is the one in which a limit draws a task's items for all.

        `validation` says what of a source's rows is held out, and so are items to choose a lambda on; of `texts`, cells
        of raw text that are scored, so are the texts that are.
        """
        super().__init__()
        self._tasks = {task.name: task for task in tasks}
        self._scoring, self._validation = scoring, validation or Validation()
        self.texts = RawTexts(texts, self._validation)
        self._loaded: dict[Cell, Task] = {}
        self._examples: dict[Cell, tuple[Example, ...]] = {}
        self._learned_rows: dict[Cell, list[int]] = {}  # of which documents these are
        self._names: dict[Cell, list[str]] = {}  # of the rows of these examples, where samples are drawn from them
        self._catalogue = Catalogue(tasks)
        self.hidden: dict[tuple[Cell, Split], int] = {}  # rows that were left out for their labels
        self.nulls: dict[tuple[Cell, Split], int] = {}  # rows whose prompt holds a null as the word None
        self._rows_of = Rows(self._tasks, scoring.limit, languages, self._documents, self._answers)
        self.limited, self.lacking = self._rows_of.bitten, self._rows_of.lacking
        self.shared, self.alike = self._rows_of.shared, self._rows_of.alike

    @classmethod
    def of(cls, config: StudyConfig) -> TaskLibrary:
        return cls(config.families, config.scoring, config.languages, config.held_out_by, config.scored_texts())

    def check(self, cells: Iterable[Cell]) -> None:
        """Raise ConfigError for a cell whose lm-eval task is not defined anywhere. Loads no data."""
        asked = list(cells)
        for missing in missing_manifests(self.train, asked):
            raise missing
        self._catalogue.check([(cell, self._tasks[cell.task]) for cell in asked])

    def definitions(self, cells: Sequence[Cell]) -> list[list[dict[str, object]]]:
        """What each cell's lm-eval tasks say; nothing of one that is learned from only. Raises ConfigError."""
        asked = [(cell, self._tasks[cell.task]) for cell in cells]
        self._catalogue.check(asked)
        return [self._catalogue.definitions(task, task.lm_eval_name(cell.language)) for cell, task in asked]

    def train(self, cell: Cell) -> TrainOverride[str]:
        """What the cell is trained on, where that is not what is scored."""
        return self._tasks[cell.task].train.of(cell.language)

    def _scored(self, cell: Cell) -> Task | None:
        """The cell's task; None where it is learned from only, or its texts are scored as they are."""
        return None if self._tasks[cell.task].lm_eval is None else self.load(cell)

    def load(self, cell: Cell) -> Task:
        """Load the cell's lm-eval task, set up as `lm_eval.evaluate` would. Raises TaskError, and Unreachable."""
        if cell not in self._loaded:
            loaded = self._rated(cell) if cell in self.texts else self._of_lm_eval(cell)
            if cell.held_out:
                asks(loaded, None if own_split(loaded) else self._held_out(Cell(cell.task, cell.language)))
                check_apart(cell, loaded.eval_docs, self.load(Cell(cell.task, cell.language)).eval_docs)
            self._loaded[cell] = loaded
        return self._loaded[cell]

    def _rated(self, cell: Cell) -> Task:
        """The task of a cell of raw text. Raises TaskError."""
        self.examples(cell)  # which says what is scored
        return self.texts.task(cell, self._to_learn(cell), self.train(cell).field or "text")

    def _of_lm_eval(self, cell: Cell) -> Task:
        task = self._tasks[cell.task]
        name = str(task.lm_eval_name(cell.language))
        loaded = load_task(self._catalogue.manager(task, name), name, cell, task)
        set_up(loaded, cell, task, self.scoring(cell).num_fewshot)
        return loaded

    def _held_out(self, cell: Cell) -> Documents:
        """The rows that training on a cell holds out. Raises TaskError."""
        check_own(cell, self.train(cell))
        self.examples(cell)
        return held_out(cell, self._learned_rows[cell], self._to_learn(cell), self._validation)

    def _to_learn(self, cell: Cell) -> Documents:
        return train_documents(cell, self._scored(cell), self.train(cell), self._tasks[cell.task].clip)

    def scoring(self, cell: Cell) -> Scoring:
        """How the cell is scored."""
        return self._tasks[cell.task].scoring.over(self._scoring)

    def metrics(self, cell: Cell) -> tuple[str, ...]:
        """The metrics that the config names for a cell, the headline first."""
        return self._tasks[cell.task].metrics

    def own_shots(self, cell: Cell) -> int:
        """Count the examples that the cell's task itself puts before each item; 0 where the config says how many."""
        return int(self.load(cell).get_config("num_fewshot")) if self.scoring(cell).num_fewshot is None else 0

    def build_requests(self, cell: Cell, chat_template: Callable[..., str] | None = None) -> list[Instance]:
        """Build lm-eval's instances for the cell's target items, in document order. Raises TaskError."""
        task = self.load(cell)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
        try:
            documents = task.eval_docs
            rows = self._rows(cell, "test", documents, lambda _, document: is_told(task, document))
            first = rows == list(range(len(rows)))
            task.build_all_requests(
                limit=len(rows) if first else None,
                samples=None if first else set(rows),
                system_instruction=self.scoring(cell).system_prompt if chat_template is not None else None,
                apply_chat_template=chat_template is not None,
                fewshot_as_multiturn=chat_template is not None,  # lm-eval's default where there is a chat template
                chat_template=chat_template,
            )
            check_possible(task, cell, task.instances)
        except (TaskError, Unreachable):
            raise
        except Exception as error:  # templates meet the data here: anything can be raised
            raise fault(f"{cell}: requests cannot be built", error) from error
        for instance in task.instances:  # lm-eval counts the chosen documents; results name rows of the split
            instance.doc_id = rows[instance.doc_id]
        written = (writes_null(i.doc, str(i.args[0])) for i in task.instances if i.idx == 0)
        self.nulls[cell, "test"] = sum(written)
        return list(task.instances)

    def target_fingerprint(self, cell: Cell, instances: Sequence[Instance]) -> str:
        """Digest what decides a target's scores beside the model: requests, gold answers, metrics. Raises TaskError.

        `instances` are the cell's, as `build_requests` made them without a chat template. The cell is in it, since
        results are known by it: two cells may hold the same data.
        """
        return fingerprint(cell, self.load(cell), instances, self.metrics(cell))

    def examples(self, cell: Cell) -> tuple[Example, ...]:
        """Make the cell's training examples, in the order of its split or manifest. Raises TaskError."""
        if cell not in self._examples:
            self._examples[cell] = self._build_examples(cell)
        return self._examples[cell]

    def _build_examples(self, cell: Cell) -> tuple[Example, ...]:
        train, task = self.train(cell), self._scored(cell)
        made: dict[int, Example | None] = {}

        def make(number: int, document: Document) -> bool:
            made[number] = learned(task, document, train)
            return made[number] is not None

        try:
            documents = list(self._to_learn(cell))
            check_columns(cell, task, train, documents)
            rows = self._rows(cell, "train", documents, make)
        except (TaskError, Unreachable):
            raise
        except Exception as error:  # datasets: anything can be raised
            files = f" from {train.data_files}" if train.data_files is not None else ""
            raise fault(f"{cell}: training examples cannot be built{files}", error) from error
        examples = {number: example for number in rows if (example := made[number]) is not None}
        if cell in self.texts:
            examples = self.texts.learned(cell, examples)
        self._learned_rows[cell] = list(examples)
        self.nulls[cell, "train"] = sum(writes_null(documents[n], one.prompt) for n, one in examples.items())
        return tuple(examples.values())

    def _rows(self, cell: Cell, split: Split, documents: Documents, tells: Tells) -> list[int]:
        """Number the rows to use: of the manifest's those whose label is told, as many as the split's limit allows."""
        known, ids, column = dict[int, bool](), dict[int, str](), self._rows_of.column(cell)

        def told(number: int) -> bool:
            if number not in known:
                with row(cell, split, number, document := documents[number]):
                    known[number] = tells(number, document)
                if column in document:
                    ids[number] = f"{of_group(document)}{document[column]}"
            return known[number]

        if cell.held_out or (split == "test" and cell in self.texts):
            return [number for number in range(len(documents)) if told(number)][: self._scoring.limit]
        asked = self._rows_of.named(cell, split, documents)
        rows = self._rows_of.limited(cell, split, documents, asked)
        if not all(told(number) for number in rows):
            rows = self._rows_of.limited(cell, split, documents, [number for number in asked if told(number)])
        if not rows:
            raise nothing_left(cell, split, len(asked), self.train(cell), self._tasks[cell.task].lm_eval is not None)
        if hidden := sum(not one for one in known.values()):
            self.hidden[cell, split] = hidden
        self._rows_of.see(cell, split, [ids[number] for number in rows if number in ids])
        return rows

    def _documents(self, cell: Cell, split: Split) -> Documents:
        task = self._scored(cell)
        return list(task.eval_docs if task and split == "test" else self._to_learn(cell))

    def _answers(self, cell: Cell, documents: Documents) -> list[str]:
        task = self._scored(cell)
        return [answer(task, document) if task else "" for document in documents]

    def sample(self, cell: Cell, size: int | None) -> tuple[Example, ...]:
        """The examples of a cell, or of a sample of them those in front of the queue, in their order."""
        examples = self.examples(cell)
        if size is None or size >= len(examples):
            return examples
        if cell not in self._names:
            self._names[cell] = self._rows_of.names(cell, list(self._to_learn(cell)), self._learned_rows[cell])
        return tuple(examples[i] for i in self._rows_of.in_front(cell, "train", self._names[cell], size))

    def with_data(self, cell: Cell, file: str) -> TaskLibrary:
        """The same cell as it is learned from another file."""
        own = self._tasks[cell.task]
        task = own.model_copy(update={"train": in_place(own.train, file)})
        made = TaskLibrary([task], self._scoring, (), self._validation)
        made._loaded = self._loaded
        return made
