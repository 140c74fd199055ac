"""The questions behind a report's numbers as files: a page, and a script of data for each target that it loads.

Scripts, because a page that was opened from a disk may load those and nothing else. Text from data stands in them as
JSON strings in which nothing can end a script, and the page shows it as text alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import polars as pl

from analysis.frames import ALL_MODELS
from analysis.page.html import NOWHERE, Links
from analysis.page.questions.data import Answers, Chosen, answer, target_data
from analysis.page.questions.flips import flips
from analysis.page.questions.shell import TITLE, shell
from analysis.reading.questions import Asked, answers
from analysis.reading.study import Study
from study.store.store import Store

FOLDER = "items"
BEGIN, HEAD = 'shown({"task":', 1_000  # how a script of data begins; characters that a page's title is among
AT_ONCE = 64  # targets whose answers are read in one pass over the store


@dataclass(frozen=True)
class Questions:
    """What there is to show of a study, and where: `page` is the file of its page."""

    study: Study
    page: str
    folder: str
    targets: tuple[Chosen, ...] = ()

    @classmethod
    def of(cls, study: Study, name: str = "") -> Questions:
        """Those of one recipe have a `name`. Of a published table there are none."""
        page, folder = (f"items-{name}.html", f"{FOLDER}/{name}") if name else ("items.html", FOLDER)
        found = () if study.published else flips(study)
        return cls(study, page, folder, tuple(Chosen.of(target, some) for target, some in found))

    def href(self, row: Mapping[str, object]) -> str | None:
        """Where the questions of a table's row are; None where it is no cell, or nothing is known of it."""
        names = [row.get(f"{end}_{part}") for end in ("source", "target") for part in ("task", "language")]
        if None in names:
            return None
        source, target = (f"{names[at]}/{names[at + 1]}" for at in (0, 2))
        models, model = self._cells.get((source, target), set()), row.get("model", ALL_MODELS)
        if not models or model not in {ALL_MODELS, *models}:
            return None
        parts = {"target": target, "source": source} | ({} if model == ALL_MODELS else {"model": str(model)})
        return f"{self.page}#" + "&".join(f"{key}={quote(value, safe='/')}" for key, value in parts.items())

    @property
    def links(self) -> Links:
        """For tables and figures of the report."""
        return Links(self.page, self.href) if self.targets else NOWHERE

    @cached_property
    def _cells(self) -> Mapping[tuple[str, str], set[str]]:
        """The models that have each source on each target."""
        found: dict[tuple[str, str], set[str]] = {}
        for one in self.targets:
            for model in one.models:
                for cell in model.cells:
                    found.setdefault((cell.source, "/".join(one.target)), set()).add(model.panel.model)
        return found

    def write(self, out: Path) -> None:
        """Write the page and its scripts below a folder; those of an earlier report are removed."""
        folder = out / self.folder
        _remove(out / self.page, folder)
        if not self.targets:
            return
        folder.mkdir(parents=True, exist_ok=True)
        listed = []
        for number, (one, value) in enumerate(self._data()):
            file = f"{self.folder}/{number:03d}-{re.sub(r'[^A-Za-z0-9]+', '-', '-'.join(one.target))[:60]}.js"
            (out / file).write_text(f"shown({safe(value)});\n", encoding="utf-8")  # as BEGIN has it
            listed.append({"target": "/".join(one.target), "file": file, "models": _listed(one)})
        (out / self.page).write_text(shell(self.study, safe(listed)), encoding="utf-8")

    def _data(self) -> Iterator[tuple[Chosen, dict[str, object]]]:
        asked, seeds = Asked.of(Store(self.study.origin)), dict(self.study.units.select("unit", "seed").iter_rows())
        for start in range(0, len(self.targets), AT_ONCE):
            some = self.targets[start : start + AT_ONCE]
            told = self._answers(some)
            for one in some:  # what is said of one at a time: as values they take many times their columns
                yield one, target_data(one, asked, _known(told.pop(one.target, None)), seeds)

    def _answers(self, some: Sequence[Chosen]) -> dict[tuple[object, ...], pl.DataFrame]:
        """All that is shown of the answers on some targets, by target."""
        named = self.study.units.select("unit", "score_id", "target_task", "target_language")
        wanted = pl.concat(one.wanted() for one in some).join(named.select("unit", "score_id"), on="unit")
        rows = answers(Store(self.study.origin), wanted).join(named.drop("score_id"), on="unit")
        return rows.partition_by("target_task", "target_language", as_dict=True, include_key=False)


def _known(rows: pl.DataFrame | None) -> Answers:
    if rows is None:
        return {}
    columns = rows.select("unit", "doc_id", "choice", "chances", "written").iter_rows()
    return {(unit, doc): answer(*told) for unit, doc, *told in columns}


def _listed(one: Chosen) -> list[dict[str, object]]:
    return [{"model": model.panel.model, "sources": [cell.source for cell in model.cells]} for model in one.models]


def safe(value: object) -> str:
    """JSON that is safe inside a script: no `<` is in it, and no character that ends a line to an older browser."""
    packed = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return packed.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def removed(out: Path, kept: Sequence[str]) -> None:
    """Remove the pages of recipes that a study no longer has."""
    for page in out.glob("items-*.html"):
        if page.name not in kept:
            _remove(page, out / FOLDER / page.stem.removeprefix("items-"))


def _remove(page: Path, folder: Path) -> None:
    """Remove a page and its scripts, of any release; what a report did not write stays."""
    for file, mark in ((page, f"<title>{TITLE}: "), *((script, BEGIN) for script in folder.glob("*.js"))):
        if file.is_file() and has(file, mark):
            file.unlink()


def has(file: Path, mark: str) -> bool:
    """Whether a file begins as those do that a report writes."""
    with file.open(encoding="utf-8", errors="replace") as text:
        return mark in text.read(HEAD)
