"""`python -m evaluators.samples STORE --to FOLDER`: answers of a study as `lm_eval --log_samples` writes them.

lm-eval itself writes the files (samples_<task>_<date>.jsonl, results_<date>.json, a folder for each model or adapter):
its own evaluation runs on the tasks of the study, with the store's answers in the place of a model. Needed are the
tasks' data and the bases' tokenizers, as for a sweep; no weights. Items whose content has changed since are refused.

Exit codes: 0; 1 where some targets could not be written; 2 on bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from evaluators.answers import Answer, Subject
from study.cells import Cell
from study.config import StudyConfig
from study.config.complaint import readable as complaint
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable
from study.identity import score_id
from study.options import closest_first, folder_here, listed
from study.plain import say, tell
from study.store.composed import held_out
from study.store.contents import reading
from study.store.layout import ITEMS
from study.store.parts import undisturbed
from study.store.readable import no_study, readable
from study.store.records import StudyFile
from study.store.store import Store
from study.store.study_file import read_study

TOLD = ("doc_hash", "loglikelihoods", "correct", "generation", "gold")
MOST_ANSWERS = 50_000  # that are held at once, but for those of one subject

T = TypeVar("T")
Unit = tuple[Subject, Cell]
Found = dict[Subject, dict[Cell, dict[int, Answer]]]
Place = tuple[str, int]  # a file, and the number of a group of its rows


@dataclass
class Told:
    """A line for each target that could not be written, and for each metric that was left out."""

    not_written: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        to, sources = folder_here("--to", given.to), listed("--sources", given.sources)
        with redirect_stdout(sys.stderr if given.json else sys.stdout):  # lm-eval prints, too
            told = write(Store(given.store), to, sources)
    except (ConfigError, TaskError, Unreachable) as error:
        say(f"error: {error}", sys.stderr)
        return 2
    if given.json:
        tell({"folder": given.to, **asdict(told)})
    else:
        for line in (*told.left_out, *told.not_written):
            say(line, sys.stderr)
    return 1 if told.not_written else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluators.samples", description="Write answers as lm_eval --log_samples does."
    )
    parser.add_argument("store", metavar="STORE", help="the study's store: a folder or a bucket URI")
    parser.add_argument("--to", metavar="FOLDER", required=True, help="an empty folder, or one that is not there yet")
    parser.add_argument("--sources", metavar="CELLS", help="only adapters trained on these, comma-separated, and bases")
    parser.add_argument("--json", action="store_true", help="print what could not be written as JSON")
    return parser


def write(store: Store, out: Path, sources: Sequence[str] | None = None) -> Told:
    """Write what a store holds of the current config; say what could not be. Raises ConfigError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("--to", out, "is not empty", "name a folder that is not there yet")
    info, units = _asked(store, sources)
    config = _config(info)
    from evaluators.logged import Log
    from study.data.tasks import TaskLibrary
    from study.models.resolve import resolve_all

    own = config.languages, config.held_out_by, tuple(config.scored_texts())
    library = TaskLibrary(config.families, config.scoring, *own)
    answers, told = Kept(store, units), Told()
    counts, subjects = answers.counts(), answers.ordered(dict.fromkeys(subject for subject, _ in units.values()))
    for model in resolve_all(config):
        log = Log(library, model, out)
        mine = [one for one in subjects if one.model == model.name]
        for some in batches(mine, counts):
            found = answers.of(some)
            for subject in some:
                with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # lm-eval's bars
                    lines = list(log.write(subject, found.pop(subject, {})))
                told.not_written += [f"{subject.called}, {line}" for line in lines]
        for cell, metric in log.left_out.items():
            why = "is of what greedy decoding would write: a store keeps it where the task's `metric` names it"
            told.left_out.append(f"{model.name}, {cell}: its {metric} is left out, which {why}")
        say(f"{model.name}: the base and {len(mine) - 1:,} adapters, in {out}")
    return told


def batches(subjects: Iterable[Subject], counts: Mapping[Subject, int]) -> Iterator[list[Subject]]:
    """Subjects in groups of MOST_ANSWERS together at most, but for one that has more by itself."""
    group: list[Subject] = []
    held = 0
    for subject in subjects:
        own = counts.get(subject, 0)
        if group and held + own > MOST_ANSWERS:
            yield group
            group, held = [], 0
        group.append(subject)
        held += own
    if group:
        yield group


def _config(info: StudyFile) -> StudyConfig:
    try:
        return StudyConfig.model_validate(info.config)
    except ValidationError as error:
        raise complaint(error, StudyConfig) from error


def _asked(store: Store, sources: Sequence[str] | None) -> tuple[StudyFile, dict[str, Unit]]:
    """The study, and its score units by score_id: of bases, and of adapters trained on some sources, or of all.

    Items that are there to choose a lambda by are in none of them.
    """
    with readable("STORE", store.uri):
        store.check_reachable()
        info, grid = read_study(store), store.read_grid()
        if info is None or grid is None:
            raise no_study("STORE", store.uri)
        apart = set(held_out(store))
        folders = {one.adapter_id: one.folder for one in store.records().values()}
    ids = {entry.called: entry.id for entry in _config(info).models}
    targets = {row["target_id"]: Cell(row["target_task"], row["target_language"]) for row in grid[1].to_pylist()}
    found, known = {}, set()
    for row in grid[0].to_pylist():
        source = f"{row['source_task']}/{row['source_language']}"
        known |= {source} if row["adapter_id"] else set()
        if row["adapter_id"] is None or sources is None or source in sources:
            base = ids.get(row["model"], row["model"])
            called = base if row["adapter_id"] is None else folders.get(row["adapter_id"], row["adapter_id"])
            subject = Subject(row["adapter_id"], row["model"], called)
            for target in targets.keys() - apart:
                found[score_id(row["subject_id"], target)] = subject, targets[target]
    for name in sources or ():
        if name not in known:
            raise ConfigError(
                "--sources", name, "no adapter was trained on it", f"one of {closest_first(name, sorted(known))}"
            )
    return info, found


class Kept:
    """The answers of a store, which are read for some subjects at a time: of each, where they lie is known."""

    def __init__(self, store: Store, units: Mapping[str, Unit]) -> None:
        self._store, self._units = store, units
        self._within: dict[Subject, set[Place]] = {}

    def counts(self) -> dict[Subject, int]:
        """How many answers of each there are, an item that was answered again counted again. Raises ConfigError."""
        return self._whole(self._counted)

    def ordered(self, subjects: Iterable[Subject]) -> list[Subject]:
        """Subjects that were counted as they lie, so that neighbours are read together; first those without answers."""
        return sorted(subjects, key=lambda one: min(self._within.get(one, ()), default=("", 0)))

    def of(self, subjects: Collection[Subject]) -> Found:
        """Every answer of some subjects that were counted, each once. Raises ConfigError."""
        return self._whole(lambda: self._read(set(subjects)))

    def _whole(self, read: Callable[[], T]) -> T:
        with readable("STORE", self._store.uri):
            return undisturbed(read)

    def _counted(self) -> dict[Subject, int]:
        found: dict[Subject, int] = defaultdict(int)
        within: dict[Subject, set[Place]] = defaultdict(set)
        for place, table in self._tables(dict.fromkeys(self._store.parts(ITEMS)), ["score_id"]):
            for one in table.column("score_id").value_counts().to_pylist():
                if one["values"] in self._units:
                    subject, _ = self._units[one["values"]]
                    found[subject] += one["counts"]
                    within[subject].add(place)
        self._within = dict(within)
        return found

    def _read(self, subjects: Collection[Subject]) -> Found:
        found: Found = defaultdict(lambda: defaultdict(dict))
        ids = pa.array([name for name, (subject, _) in self._units.items() if subject in subjects], pa.string())
        groups: dict[str, list[int]] = defaultdict(list)
        for name, number in sorted({place for one in subjects for place in self._within.get(one, ())}):
            groups[name].append(number)
        try:
            for _, table in self._tables(groups, ["score_id", "doc_id", *TOLD, "metrics"]):
                for row in table.filter(pc.is_in(table.column("score_id"), ids)).to_pylist():
                    subject, cell = self._units[row["score_id"]]
                    named = {one["name"]: one["value"] for one in row.get("metrics") or ()}
                    kept = {name: row[name] for name in TOLD}
                    found[subject][cell][row["doc_id"]] = Answer(**kept, exact=named.get("exact_match"))
        except FileNotFoundError:
            self._counted()  # a run goes on, and has put parts together: they lie elsewhere now
            raise
        return found

    def _tables(
        self, groups: Mapping[str, Sequence[int] | None], columns: Sequence[str]
    ) -> Iterator[tuple[Place, pa.Table]]:
        """Columns of these groups of rows, or of all those of a file, a group at a time."""
        for name, file in zip(groups, self._store.parquet_files(groups), strict=True):
            asked = groups[name]
            for number in range(file.num_row_groups) if asked is None else asked:
                with reading(name):
                    table = file.read_row_group(number, columns=list(columns), use_threads=False)
                yield (name, number), table


if __name__ == "__main__":
    sys.exit(main())
