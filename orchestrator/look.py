"""`python -m orchestrator.look CONFIG --cell task/language`: what a model learns in a cell, and what it is asked there.

It trains and scores nothing, and starts no cluster: rows with the loss mask visible, prompts with options, few-shot
examples and chat template as they are scored, what is cut, and what the split looks like. With `--json` for programs.

Exit codes: 0; 2 where the config, the cell or its data are wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from orchestrator.planning.cell_view import Learned, Lengths, Scored, learned, model_named, scored
from study.cells import Cell, Source
from study.config import StudyConfig
from study.config.expansion import learned as learned_from
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from study.faults.network import Unreachable
from study.models.resolve import resolve_all
from study.plain import say, tell
from trainers.data import BadData

MARKS = ("⟦", "⟧")
CUT = 80  # characters of either end of what is cut


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        config = load(given.config, given.overrides)
        found = look(config, given.cell, given.model, given.rows)
    except (ConfigError, TaskError, BadData, Unreachable) as error:
        say(f"error: {error}", sys.stderr)
        return 2
    if given.json:
        tell(found.told())
        return 0
    for line in lines(found):
        say(line)
    return 0


@dataclass(frozen=True)
class Seen:
    """What there is to see of a cell: `learned` where it can be a source, `asked` where a target, or why not."""

    cell: str
    model: str
    learned: Learned | None = None
    learned_fault: str | None = None
    asked: Scored | None = None
    asked_fault: str | None = None

    def told(self) -> dict[str, object]:
        """What is there, for programs."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def look(config: StudyConfig, text: str, model: str | None, rows: int) -> Seen:
    """Look at a cell, or a source by its name, as a model of the study meets it, by default the first.

    Raises ConfigError for a cell or model that the study has not, TaskError, BadData and Unreachable for its data.
    """
    if rows < 0:
        raise ConfigError("--rows", rows, "is less than none", "say how many rows and items to show; 0: lengths alone")
    source = _source(config, text)
    cell = _cell(config, text) if source is None else source.cells[0]
    models = tuple(resolve_all(config))
    chosen = model_named(models, model)
    if chosen is None:
        names = ", ".join(one.name for one in models)
        raise ConfigError("--model", model, "is no model of the study", f"use one of {names}")
    from evaluators.items.encoder import encoder_of  # imports torch, which takes seconds

    library, encoder = TaskLibrary.of(config), encoder_of(chosen)
    library.check([cell] if source is None else source.cells)
    found = Seen(str(source or cell), chosen.name)
    faults: list[TaskError | BadData] = []
    try:
        found = replace(found, learned=learned(config, library, encoder, source or Source.of([cell]), rows))
    except (TaskError, BadData) as error:
        faults.append(error)
        found = replace(found, learned_fault=str(error))
    if source is None and (config.task(cell.task).lm_eval is not None or cell in library.texts):
        try:
            found = replace(found, asked=scored(config, library, encoder, cell, rows))
        except (TaskError, BadData) as error:
            faults.append(error)
            found = replace(found, asked_fault=str(error))
    if found.learned is None and found.asked is None:
        raise faults[0]
    return found


def lines(found: Seen) -> list[str]:
    """The same for people."""
    told = [f"{found.cell}, as {found.model} meets it"]
    told += [] if found.learned is None else _learned(found.learned)
    told += [] if found.asked is None else _asked(found.asked)
    faults = (("LEARNED", found.learned_fault), ("ASKED", found.asked_fault))
    return told + [f"NOT {what}: {why}" for what, why in faults if why is not None]


def _learned(rows: Learned) -> list[str]:
    told = ["", f"LEARNED ({MARKS[0]}…{MARKS[1]} counts in the loss): {_lengths(rows.lengths, 'rows')}"]
    told += _left_out(rows) + _balance("answers", rows)
    for number, row in enumerate(rows.rows, 1):
        cut = f", {'cut from' if row.cut else 'chunk of'} {row.whole:,}" if row.whole > row.n_tokens else ""
        text = "".join(f"{MARKS[0]}{s.text}{MARKS[1]}" if s.learned else s.text for s in row.spans)
        ids = " ".join(
            f"{MARKS[0]}{' '.join(map(str, s.tokens))}{MARKS[1]}" if s.learned else " ".join(map(str, s.tokens))
            for s in row.spans
        )
        told += ["", f"row {number}, {row.n_tokens:,} tokens{cut}", text, f"tokens: {ids}", *_cut(row.cut)]
    return told


def _asked(items: Scored) -> list[str]:
    shots = f", {items.fewshot} examples before each" if items.fewshot else ""
    chat = ", by the chat template" if items.chat else ""
    told = ["", f"ASKED{shots}{chat}: {_lengths(items.lengths, 'items')}", f"metrics: {', '.join(items.metrics)}"]
    if items.tasks:
        told += ["a group of " + ", ".join(f"{name} ({count:,} items)" for name, count in items.tasks.items())]
    if (writes := items.writes) is not None:
        ends = " or ".join(map(repr, writes.until))
        told += [f"answers are written, up to {ends}, of {writes.max_gen_toks:,} tokens at most"]
    told += _left_out(items) + _balance("right answers", items)
    for item in items.items:
        of, longest = f" of {item.task}" if item.task else "", " with its longest option" if item.options else ""
        told += ["", f"item {item.doc_id}{of}, {item.n_tokens:,} tokens{longest}", item.prompt]
        told += [f"  option {number}: {option!r}" for number, option in enumerate(item.options)]
        told += [f"  right: {item.answer!r}"] if item.answer else []
        told += _cut(item.cut)
    return told


def _cut(text: str) -> list[str]:
    """What is cut of a row or prompt, in short."""
    short = text if len(text) <= 2 * CUT else f"{text[:CUT]} … {text[-CUT:]}"
    return [f"cut, {len(text):,} characters: {short!r}"] if text else []


def _lengths(lengths: Lengths, what: str) -> str:
    limit = lengths.limit
    if limit is None or (lengths.longest > limit and not lengths.cut):
        cut = "none is cut" if limit is None else f"read in chunks of {limit:,}"
    else:
        cut = f"{lengths.cut:,} are longer than {limit:,} and cut" if lengths.cut else f"none is cut (limit {limit:,})"
    spread = f"{lengths.shortest:,} to {lengths.longest:,} tokens, half of them {lengths.median:,} or more"
    return f"{lengths.count:,} {what}, {spread}; {cut}"


def _left_out(found: Learned | Scored) -> list[str]:
    """What is not among the rows, and what among them says None."""
    hidden = f"{found.hidden:,} left out: labels are hidden, or there is nothing to learn"
    nulls = f"{found.nulls:,} prompts hold a null as the word None: fill it, or write {{{{ column or '' }}}}"
    return [line for line, count in ((hidden, found.hidden), (nulls, found.nulls)) if count]


def _balance(what: str, found: Learned | Scored) -> list[str]:
    if not found.answers:
        return [f"{what}: {found.kinds:,} different ones"] if found.kinds else []
    total = sum(found.answers.values())
    shares = ", ".join(f"{name!r} {count / total:.0%}" for name, count in found.answers.items())
    return [f"{what}: {shares}" + (": all are one, which nothing can be told from" if found.kinds == 1 else "")]


def _source(config: StudyConfig, text: str) -> Source | None:
    """A source by its name, or as plans write it: a sample, or several cells. None for a cell, which is asked, too."""
    named = config.named_source(text)
    whole = (one for one in learned_from(config) if str(one) == text and (one.size or len(one.cells) > 1))
    return named or next(whole, None)


def _cell(config: StudyConfig, text: str) -> Cell:
    try:
        cell = Cell.parse(text)
    except ValueError as error:
        fix = "write task/language, or the name of a source"
        raise ConfigError("--cell", text, str(error), fix) from error
    if cell not in config.cells():
        known: Sequence[str] = [str(one) for one in config.cells()]
        more = ", …" if len(known) > 8 else ""
        raise ConfigError("--cell", text, "no such cell in this study", f"use one of {', '.join(known[:8])}{more}")
    return cell


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.look", description="What a cell holds for a model.")
    parser.add_argument("config", metavar="CONFIG", help="the study's YAML file")
    parser.add_argument("--cell", required=True, help="task/language, a sample (task/language@50), or a source by name")
    parser.add_argument("--model", help="its name; default: the first of the config")
    parser.add_argument("--rows", type=int, default=3, help="rows and items to show (default 3); 0: lengths alone")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="as for a sweep"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
