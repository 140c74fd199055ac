"""What pages of the reference have from the code: `python docs/reference.py` writes it, `tests/docs` holds them to it.

docs/config.md          values and default of each key, from the models of `study.config`; what a key is for stands
                        in the page itself, in the last column, and every key has its row
docs/commands.md        arguments and options of every command, from their parsers
docs/schema.md          columns of the store's Parquet files, from their schemas
docs/report_columns.md  as `python -m analysis.page.manual` writes it
docs/architecture.md    the rooms of each storey, from the import contracts in pyproject.toml
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

import analysis.advise
import analysis.publish
import analysis.report
import evaluators.samples
import orchestrator.look
import orchestrator.options
import orchestrator.status
import orchestrator.submit
import study.check
import study.sizes
from analysis.page import manual
from study.config.keys import StudyConfig
from study.store import schema

DOCS = Path(__file__).resolve().parent
COMMANDS = (
    orchestrator.options.parser,
    orchestrator.look.parser,
    orchestrator.status.parser,
    orchestrator.submit.parser,
    study.check.parser,
    study.sizes.parser,
    analysis.report.parser,
    analysis.advise.parser,
    analysis.publish.parser,
    evaluators.samples.parser,
)
COMMANDS_HEAD = """# Commands

Written by `python docs/reference.py` from the commands' own parsers; each says the same with `--help`. What is wrong is
told in a line on standard error, with exit code 2.
"""
SCHEMA_HEAD = f"""# Columns of the store

Written by `python docs/reference.py` from `study/store/schema.py`: the Parquet files of [the store](store.md), schema
version {schema.SCHEMA_VERSION}. Each file has the same in its fields' metadata.
"""
STOREYS = ("orchestrator", "trainers", "evaluators", "adapters", "analysis", "study")
NOT_WRITTEN = {"trial_run"}  # the mark of `--limit` in a store: no file of a user has it


def pages() -> dict[str, str]:
    """Every page that has something from the code, as it should be."""
    return {
        "config.md": config((DOCS / "config.md").read_text(encoding="utf-8")),
        "commands.md": commands(),
        "schema.md": columns(),
        "report_columns.md": manual.markdown(),
        "architecture.md": architecture((DOCS / "architecture.md").read_text(encoding="utf-8")),
    }


# rooms


def architecture(page: str) -> str:
    """The page with its first block as the contracts have it: floors from the top, rooms of one side by side."""
    contracts = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    floors = {one["containers"][0]: one["layers"] for one in contracts["contracts"] if "containers" in one}
    drawn = [line for name in STOREYS for line in _storey(name, floors[name])]
    return re.sub(r"(?<=```text\n).*?(?=```)", "".join(f"{line}\n" for line in drawn), page, count=1, flags=re.DOTALL)


def _storey(name: str, floors: list[str]) -> list[str]:
    whole = " > ".join(floor.replace(" | ", " · ") for floor in floors)
    return textwrap.wrap(whole, 118, initial_indent=f"{name:14}", subsequent_indent=" " * 14, break_on_hyphens=False)


# keys of the config


def config(page: str) -> str:
    """The page with values and defaults of keys. Raises ValueError for a key without a row, or a row without one."""
    found, rows = dict(keys()), list[str]()
    for line in page.splitlines():
        row = re.fullmatch(r"\| `([^`]+)` \| .*?(?<!\\)\| .*?(?<!\\)\| (.+) \|", line)
        if row is None:
            rows.append(line)
        elif row[1] not in found:
            raise ValueError(f"docs/config.md has a row of {row[1]}, which is no key, or stands there twice")
        else:
            values, default = found.pop(row[1])
            rows.append(f"| `{row[1]}` | {values} | {default} | {row[2]} |")
    if found:
        raise ValueError(f"docs/config.md has no row of {', '.join(found)}")
    return "\n".join(rows) + "\n"


def keys() -> Iterator[tuple[str, tuple[str, str]]]:
    """Each key's path, with its values and its default in words."""
    whole = StudyConfig.model_json_schema()
    defs = whole.pop("$defs")
    yield from _keys(whole, "", defs)


def _keys(model: dict[str, Any], before: str, defs: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, field in model["properties"].items():
        path = f"{before}{name}"
        if path in NOT_WRITTEN:
            continue
        inner = list(_inner(field, defs))
        if alone := [one for one, suffix in inner if suffix == "" and field.get("$ref")]:
            yield from _keys(alone[0], f"{path}.", defs)
            continue
        default = "required" if name in model.get("required", ()) else _default(field.get("default"), bool(inner))
        yield path, (_values(field, defs), default)
        for one, suffix in inner:
            yield from _keys(one, f"{path}{suffix}.", defs)


def _inner(field: dict[str, Any], defs: dict[str, Any], suffix: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """The models that a value may be, or may be a list of."""
    if ref := field.get("$ref"):
        yield defs[ref.rpartition("/")[2]], suffix
    for one in (*field.get("anyOf", ()), *field.get("oneOf", ())):
        yield from _inner(one, defs, suffix)
    if isinstance(field.get("items"), dict):
        yield from _inner(field["items"], defs, f"{suffix}[]")


def _values(field: dict[str, Any], defs: dict[str, Any]) -> str:
    if "$ref" in field:
        return "keys"
    if several := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(_values(one, defs) for one in several))
    if "const" in field or "enum" in field:
        return ", ".join(f"`{one}`" for one in field.get("enum", [field.get("const")]))
    kind = field.get("type")
    if kind == "array":
        return f"list of {_values(field['items'], defs)}"
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"table of {_values(inner, defs)}" if isinstance(inner, dict) and inner else "table"
    if kind in ("integer", "number"):
        return _number("whole number" if kind == "integer" else "number", field)
    return {"string": "text", "boolean": "`true`, `false`", "null": "`null`"}.get(str(kind), "anything")


def _number(word: str, field: dict[str, Any]) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    ends = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field and abs(field[key]) < 1 << 62]
    return " ".join([word, *ends])


def _default(value: object, has_keys: bool) -> str:
    if value in (None, [], {}):
        return "–"
    if has_keys and isinstance(value, dict):
        return "its keys'"
    text = json.dumps(value) if isinstance(value, list | dict) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


# commands


def commands() -> str:
    """The page of commands."""
    return "\n".join([COMMANDS_HEAD, *map(_command, COMMANDS)])


def _command(make: Any) -> str:
    parser: argparse.ArgumentParser = make()
    shown = [one for one in parser._actions if not isinstance(one, argparse._HelpAction)]
    first = " ".join(_argument(one) for one in shown if not one.option_strings)
    needed = [_argument(one) for one in shown if one.option_strings and one.required]
    for group in parser._mutually_exclusive_groups:
        if group.required:
            needed.append(f"({' | '.join(_argument(one) for one in group._group_actions)})")
    line = " ".join(filter(None, [parser.prog, first, *needed, "[options]"]))
    rows = "".join(f"| `{_argument(one)}` | {_help(parser, one)} |\n" for one in shown)
    head = f"## {parser.prog.rpartition(' ')[2]}\n\n{parser.description}\n\n```\n{line}\n```\n"
    return f"{head}\n| argument | what |\n|---|---|\n{rows}"


def _argument(action: argparse.Action) -> str:
    name = action.metavar or action.dest
    if not action.option_strings:
        return f"[{name}]" if action.nargs == "?" else str(name)
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return action.option_strings[-1] + {"?": f" [{value.strip()}]", "+": f"{value} …"}.get(str(action.nargs), value)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if not action.help:
        raise ValueError(f"{parser.prog} {_argument(action)} has no help")
    return parser._get_formatter()._expand_help(action).replace("|", "\\|")


# the store


PARQUET = {
    "results/items": (schema.ITEMS, "One row per adapter, or base, and target item."),
    "results/scores": (schema.SCORES, "One row per adapter, or base, target and metric."),
    "prompts": (schema.PROMPTS, "One row per item of a target, as it is asked."),
    "grid.parquet": (schema.GRID, "One row: what the current config asks for."),
    "grid.parquet: subjects": (schema.SUBJECTS, "What is scored."),
    "grid.parquet: targets": (schema.TARGETS, "On what."),
    "grid.parquet: compositions": (schema.COMPOSITIONS, "Which subjects are put together of others."),
    "grid.parquet: recipes": (schema.RECIPES, "By which of several recipes adapters are trained."),
    "grid.parquet: starts": (schema.STARTS, "Which adapters begin with others."),
}


def columns() -> str:
    """The page of the store's columns."""
    return "\n".join([SCHEMA_HEAD, *(_columns(name, *of) for name, of in PARQUET.items())])


def _columns(name: str, of: pa.Schema, what: str) -> str:
    rows = "".join(
        f"| `{one.name}` | {_type(one.type)}{', null' * one.nullable} | {one.metadata[b'description'].decode()} |\n"
        for one in of
    )
    return f"## {name}\n\n{what}\n\n| column | type | what |\n|---|---|---|\n{rows}"


def _type(kind: pa.DataType) -> str:
    if not pa.types.is_list(kind):
        return "table" if pa.types.is_struct(kind) else str(kind)
    return f"list of {_type(kind.value_type)}"


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
