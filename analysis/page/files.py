"""A report as files: which study it is about, its tables, its figures and the page.

Makes every table it can and says why of those it cannot; a table of an earlier report that this one does not make is
removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import vl_convert

from analysis.page import headline
from analysis.page.apart import apart
from analysis.page.beside import Beside, beside
from analysis.page.charts.style import for_file
from analysis.page.document import TITLE, page
from analysis.page.questions.files import Questions, has, removed
from analysis.page.recipes import page_of
from analysis.page.sections import SECTIONS, specs
from analysis.reading.published import as_reference
from analysis.reading.recipes import one_of
from analysis.reading.study import Study, load, load_published
from analysis.statistics import recipes
from analysis.statistics.languages.distances import with_own
from analysis.tables import compare, pairs, registry
from analysis.tables.exclusion import check_left, without, without_unhealthy
from analysis.tables.known import with_known_values
from analysis.tables.registry import Made, make, make_all
from study.errors import ConfigError

FORMULA = r"^[=+\-@\t\r]"  # with which a formula begins, https://owasp.org/www-community/attacks/CSV_Injection


@dataclass(frozen=True)
class Written:
    """The page that was written, and its most telling lines."""

    index: Path
    lines: list[str]


def read(
    store: str | None,
    published: str | None = None,
    curated: str | None = None,
    exclude_unhealthy: bool = False,
    distances: str | None = None,
) -> Study:
    """The study that the command's options ask for; ConfigError on bad input."""
    if store is not None and published is None:
        study = of_recipe(store)
    elif published is not None and store is None:
        study = load_published(published)
    else:
        raise ConfigError("STORE", store, "give a store or --published FILE.csv, one of them", "see --help")
    study = with_known_values(study)
    if curated:
        tasks = tuple(task.strip() for task in curated.split(","))
        study = _each(study, lambda one: replace(one, curated=tasks))
    if distances is not None:
        study = _each(study, lambda one: with_own(one, distances))
    if exclude_unhealthy:
        study = _each(study, without_unhealthy)
        check_left(study)
    return study


def beside_it(name: str) -> Study:
    """A study to set beside another; ConfigError on bad input, of the option that names it."""
    try:
        return read(name)
    except ConfigError as error:
        key = "--compare" if error.key.startswith("STORE") else error.key
        raise ConfigError(key, error.value, error.problem, error.fix) from error


def of_recipe(name: str) -> Study:
    """A store, a published table, or with `#RECIPE` behind it one recipe of a store."""
    store, hash_, recipe = name.rpartition("#")
    if not hash_ or Path(name).exists():
        return load(name)
    study = load(store)
    try:
        return one_of(study, recipe)
    except ConfigError as error:  # of an option that the command has not
        raise ConfigError("STORE#RECIPE", name, error.problem, error.fix) from error


def _each(study: Study, change: Callable[[Study], Study]) -> Study:
    """A study with each of its recipes changed; between these is compared what all of them keep."""
    if (across := study.across) is None:
        return change(study)
    studies = {name: change(one) for name, one in across.studies.items()}
    unhealthy = frozenset().union(*(one.unhealthy for one in studies.values()))
    across = replace(across, whole=without(across.whole, unhealthy), studies=studies)
    return replace(next(iter(studies.values())), across=across)


def folder_of(study: Study) -> Path:
    """STORE/report, where a report goes unless --out names a folder; ConfigError when the store is not local."""
    if study.recipe and not study.across:
        raise ConfigError("--out", None, "the store's own report is of all its recipes", "name a folder with --out DIR")
    if "://" in study.origin:
        raise ConfigError("--out", None, "the store is not on a local disk", "name a local folder with --out DIR")
    return Path(study.origin) / "report"


def write(study: Study, out: Path, others: Sequence[Study] = ()) -> Written:
    """Write tables, figures and page of a study, beside others if given; of several recipes a page for each."""
    pages = pages_of(study, others)
    for name in (*(table.name for table in compare.TABLES), *(table.name for table in pairs.TABLES)):
        _remove(out / "tables", name)
    write_tables(tables_of(pages), study, out / "tables")
    for old in out.glob("recipe-*.html"):
        if has(old, TITLE):
            old.unlink()
    removed(out, [one.questions.page for one in pages])
    _remove_figures(out / "figures")
    for number, one in enumerate(pages):
        write_figures(one.study, one.made, out / "figures" / (str(one.study.recipe) if number else ""))
        (out / one.file).write_text(one.html(), encoding="utf-8")
        one.questions.write(out)
    return Written(out / "index.html", pages[0].lines)


def pages_of(study: Study, others: Sequence[Study] = ()) -> list[Page]:
    """A page for each recipe; what is between recipes is made once."""
    shared = make_all(recipes.TABLES, study) if study.across else {}
    return [Page.of(one, shared, others) for one in studies_of(study)]


def studies_of(study: Study) -> list[Study]:
    """The study of each recipe, with the others across; the study itself where there is but one."""
    across = study.across
    return [replace(one, across=across) for one in across.studies.values()] if across else [study]


@dataclass(frozen=True)
class Page:
    """What is on the page of one recipe, or of the only one."""

    study: Study
    made: dict[str, Made]
    compared: Beside
    lines: list[str]
    questions: Questions

    @classmethod
    def of(cls, study: Study, shared: Mapping[str, Made], others: Sequence[Study]) -> Page:
        compared = beside(study, others)
        made = {table.name: shared.get(table.name) or make(table, study) for table in registry.tables_of(study)}
        own = str(study.recipe) if study.across and study.recipe != next(iter(study.across.studies)) else ""
        return cls(study, made, compared, headline.lines(study, made), Questions.of(study, own))

    @property
    def file(self) -> str:
        return page_of(list(self.study.across.studies), str(self.study.recipe)) if self.study.across else "index.html"

    def html(self) -> str:
        return page(self.study, self.made, self.lines, self.compared, self.questions.links)


def tables_of(pages: Sequence[Page]) -> dict[str, Made]:
    """All tables of all pages; of several recipes each says of which."""
    if pages[0].study.across is None:
        return pages[0].made | pages[0].compared.made
    shared = {table.name: pages[0].made[table.name] for table in recipes.TABLES}
    own = {
        str(one.study.recipe): {
            name: table for name, table in (one.made | one.compared.made).items() if name not in shared
        }
        for one in pages
    }
    return {**registry.together(own), **shared}


def _remove(folder: Path, table: str) -> None:
    for suffix in ("csv", "parquet"):
        (folder / f"{table}.{suffix}").unlink(missing_ok=True)


def write_tables(made: dict[str, Made], study: Study, folder: Path) -> None:
    """Every table as CSV and Parquet, the transfer table also under the reference study's columns, and columns.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in made.items():
        _remove(folder, name)
        if table.frame is not None:
            write_csv(table.frame, folder / f"{name}.csv")
            table.frame.write_parquet(folder / f"{name}.parquet")
    for old in folder.glob("transfer_results*.csv"):
        old.unlink()
    for one in studies_of(study):
        name = f"transfer_results-{one.recipe}.csv" if study.across else "transfer_results.csv"
        write_csv(as_reference(one.transfer), folder / name)
    columns = [(name, column, what) for name, m in made.items() for column, what in m.table.columns.items()]
    pl.DataFrame(columns, schema=["table", "column", "description"], orient="row").write_csv(folder / "columns.csv")


def write_csv(frame: pl.DataFrame, file: Path) -> None:
    """A frame as CSV in which no text is a formula to a spreadsheet: an apostrophe stands before what would be one."""
    text = pl.col(pl.String)
    safe = pl.when(text.str.contains(FORMULA)).then(pl.lit("'") + text).otherwise(text).name.keep()
    frame.with_columns(safe).write_csv(file)


def _remove_figures(folder: Path) -> None:
    """Those of recipes but the first, some of which the study may no longer have; what a report did not draw stays."""
    names = {section.name for section in SECTIONS}
    for old in [*folder.glob("*/*.svg"), *folder.glob("*/*.png")]:
        if old.stem in names:
            old.unlink()
            if not any(old.parent.iterdir()):
                old.parent.rmdir()


def write_figures(study: Study, made: dict[str, Made], folder: Path) -> None:
    """Every figure as SVG and as PNG at twice its size, without names that would lie upon others."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in specs(study, made, page=False).items():
        svg = apart(vl_convert.vegalite_to_svg(for_file(spec)))
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))
