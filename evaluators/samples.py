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
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

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

TOLD = ("doc_hash", "loglikelihoods", "correct", "generation")

Unit = tuple[Subject, Cell]


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        to, sources = folder_here("--to", given.to), listed("--sources", given.sources)
        with redirect_stdout(sys.stderr if given.json else sys.stdout):  # lm-eval prints, too
            troubles = write(Store(given.store), to, sources)
    except (ConfigError, TaskError, Unreachable) as error:
        say(error, sys.stderr)
        return 2
    if given.json:
        tell({"folder": given.to, "not_written": troubles})
        return 1 if troubles else 0
    for trouble in troubles:
        say(trouble, sys.stderr)
    return 1 if troubles else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluators.samples", description="Write answers as lm_eval --log_samples does."
    )
    parser.add_argument("store", metavar="STORE", help="the study's store: a folder or a bucket URI")
    parser.add_argument("--to", metavar="FOLDER", required=True, help="an empty folder, or one that is not there yet")
    parser.add_argument("--sources", metavar="CELLS", help="only adapters trained on these, comma-separated, and bases")
    parser.add_argument("--json", action="store_true", help="print what could not be written as JSON")
    return parser


def write(store: Store, out: Path, sources: Sequence[str] | None = None) -> list[str]:
    """Write what a store holds of the current config; what could not be, a line each. Raises ConfigError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("--to", out, "is not empty", "name a folder that is not there yet")
    info, units = _asked(store, sources)
    config = _config(info)
    from evaluators.logged import Log
    from study.data.tasks import TaskLibrary
    from study.models.resolve import resolve_all

    own = config.languages, config.held_out_by, tuple(config.scored_texts())
    library = TaskLibrary(config.families, config.scoring, *own)
    found, troubles = _answers(store, units), []
    subjects = dict.fromkeys(subject for subject, _ in units.values())
    for model in resolve_all(config):
        log = Log(library, model, out)
        mine = [one for one in subjects if one.model == model.name]
        for subject in mine:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # lm-eval's bars, several for each target
                troubles += [f"{subject.called}, {said}" for said in log.write(subject, found.get(subject, {}))]
        say(f"{model.name}: the base and {len(mine) - 1:,} adapters, in {out}")
    return troubles


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
    ids = {entry.name or entry.id.rstrip("/").rpartition("/")[2]: entry.id for entry in _config(info).models}
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


def _answers(store: Store, units: Mapping[str, Unit]) -> dict[Subject, dict[Cell, dict[int, Answer]]]:
    """Every answer of these units, each once. Raises ConfigError."""
    with readable("STORE", store.uri):
        return undisturbed(lambda: _read(store, units))


def _read(store: Store, units: Mapping[str, Unit]) -> dict[Subject, dict[Cell, dict[int, Answer]]]:
    found: dict[Subject, dict[Cell, dict[int, Answer]]] = defaultdict(lambda: defaultdict(dict))
    names = store.parts(ITEMS)
    for name, file in zip(names, store.parquet_files(names), strict=True):
        with reading(name):
            table = file.read(columns=["score_id", "doc_id", *TOLD], use_threads=False)
        column = table.column("score_id")
        mine = [one for one in column.unique().to_pylist() if one in units]
        for row in table.filter(pc.is_in(column, pa.array(mine, pa.string()))).to_pylist():
            subject, cell = units[row["score_id"]]
            found[subject][cell][row["doc_id"]] = Answer(**{name: row[name] for name in TOLD})
    return found


if __name__ == "__main__":
    sys.exit(main())
