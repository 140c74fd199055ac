"""A report as files: which study it is about, its tables, its figures and the page.

Makes every table it can and says why of those it cannot; a table of an earlier report that this one does not make is
removed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import vl_convert

from analysis.page import headline
from analysis.page.document import page
from analysis.page.sections import specs
from analysis.reading.published import as_reference
from analysis.reading.study import Study, load, load_published
from analysis.tables import compare, registry
from analysis.tables.exclusion import without_unhealthy
from analysis.tables.known import not_comparable, with_known_values
from analysis.tables.registry import Made, make_all
from study.errors import ConfigError

FORMULA = r"^[=+\-@\t\r]"  # with which a formula begins, https://owasp.org/www-community/attacks/CSV_Injection


@dataclass(frozen=True)
class Written:
    """The page that was written, and its most telling lines."""

    index: Path
    lines: list[str]


def read(
    store: str | None, published: str | None = None, curated: str | None = None, exclude_unhealthy: bool = False
) -> Study:
    """The study that the command's options ask for; ConfigError on bad input."""
    if store is not None and published is None:
        study = load(store)
    elif published is not None and store is None:
        study = load_published(published)
    else:
        raise ConfigError("STORE", store, "give a store or --published FILE.csv, one of them", "see --help")
    study = with_known_values(study)
    if curated:
        study = replace(study, curated=tuple(task.strip() for task in curated.split(",")))
    return without_unhealthy(study) if exclude_unhealthy else study


def folder_of(study: Study) -> Path:
    """STORE/report, where a report goes unless --out names a folder; ConfigError when the store is not local."""
    if "://" in study.origin:
        raise ConfigError("--out", None, "the store is not on a local disk", "name a local folder with --out DIR")
    return Path(study.origin) / "report"


def write(study: Study, out: Path, other: Study | None = None) -> Written:
    """Write tables, figures and page of a study, beside another one if given."""
    made = make_all(registry.TABLES, study)
    compared = make_all(compare.TABLES, (study, other)) if other is not None else {}
    lines = headline.lines(study, made)
    for table in compare.TABLES:
        _remove(out / "tables", table.name)
    write_tables(made | compared, study, out / "tables")
    write_figures(study, made, out / "figures")
    index = out / "index.html"
    note = not_comparable((study, other)) if other is not None else None
    index.write_text(page(study, made, lines, compared, note), encoding="utf-8")
    return Written(index, lines)


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
    write_csv(as_reference(study.transfer), folder / "transfer_results.csv")
    columns = [(name, column, what) for name, m in made.items() for column, what in m.table.columns.items()]
    pl.DataFrame(columns, schema=["table", "column", "description"], orient="row").write_csv(folder / "columns.csv")


def write_csv(frame: pl.DataFrame, file: Path) -> None:
    """A frame as CSV in which no text is a formula to a spreadsheet: an apostrophe stands before what would be one."""
    text = pl.col(pl.String)
    safe = pl.when(text.str.contains(FORMULA)).then(pl.lit("'") + text).otherwise(text).name.keep()
    frame.with_columns(safe).write_csv(file)


def write_figures(study: Study, made: dict[str, Made], folder: Path) -> None:
    """Every figure as SVG and as PNG at twice its size."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in specs(study, made, page=False).items():
        svg = vl_convert.vegalite_to_svg(spec)
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))
