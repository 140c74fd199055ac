"""`python -m analysis.report STORE`: tables, figures and one page that a reader needs nothing else for.

Reads the store (or the reference study's published CSV), makes every table it can, says why of those it cannot,
writes them all, and prints where the page is and the most telling lines.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import ConfigError

if TYPE_CHECKING:
    from analysis.reading.study import Study
    from analysis.tables.registry import Made


@dataclass(frozen=True)
class ReportSummary:
    """Where the page is and what it says first."""

    index: Path
    lines: list[str]


def write(store_uri: str, out: str | None = None) -> ReportSummary:
    """Write the report of a store; default folder STORE/report when the store is local. ConfigError on bad input."""
    from analysis.reading.study import load_store

    study = load_store(store_uri)
    return write_study(study, Path(out) if out else _default_out(study.origin))


def write_study(study: Study, out: Path, other: Study | None = None) -> ReportSummary:
    """Write tables, figures and page of a study that is already read, beside another one if given."""
    from analysis.page import headline
    from analysis.page.document import page
    from analysis.tables import compare
    from analysis.tables.registry import make_all

    made = make_all(study)
    compared = compare.compare_all(study, other) if other is not None else {}
    lines = headline.lines(study, made)
    _clear(out / "tables", [table.name for table in compare.TABLES])
    write_tables(made | compared, study, out / "tables")
    write_figures(study, made, out / "figures")
    index = out / "index.html"
    index.write_text(page(study, made, lines, compared), encoding="utf-8")
    return ReportSummary(index, lines)


def _clear(folder: Path, names: list[str]) -> None:
    """Remove tables of an earlier report that this one may not make."""
    for name in names:
        for suffix in ("csv", "parquet"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)


def write_tables(made: dict[str, Made], study: Study, folder: Path) -> None:
    """Every table as CSV and Parquet, the transfer table also under the reference study's columns, and columns.csv."""
    import polars as pl

    from analysis.reading.published import as_reference

    folder.mkdir(parents=True, exist_ok=True)
    for table in made.values():
        _clear(folder, [table.table.name])
        if table.frame is not None:
            table.frame.write_csv(folder / f"{table.table.name}.csv")
            table.frame.write_parquet(folder / f"{table.table.name}.parquet")
    as_reference(study.transfer).write_csv(folder / "transfer_results.csv")
    columns = [(t.table.name, name, what) for t in made.values() for name, what in t.table.columns.items()]
    pl.DataFrame(columns, schema=["table", "column", "description"], orient="row").write_csv(folder / "columns.csv")


def write_figures(study: Study, made: dict[str, Made], folder: Path) -> None:
    """Every figure as SVG and as PNG at twice its size."""
    import vl_convert

    from analysis.page.sections import specs

    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in specs(study, made, page=False).items():
        svg = vl_convert.vegalite_to_svg(spec)
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))


def _default_out(origin: str) -> Path:
    if "://" in origin:
        raise ConfigError("--out", None, "the store is not on a local disk", "name a local folder with --out DIR")
    return Path(origin) / "report"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Write the report of a study.")
    parser.add_argument("store", metavar="STORE", nargs="?", help="the study's store: a folder or a bucket URI")
    parser.add_argument(
        "--published", metavar="FILE.csv", help="report on the reference study's published table instead"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write to (default: STORE/report)")
    parser.add_argument("--compare", metavar="OTHER", help="set another store, or a published CSV, beside this one")
    parser.add_argument(
        "--exclude-unhealthy", action="store_true", help="leave out targets that fail the health checks"
    )
    parser.add_argument("--curated", metavar="TASKS", help="tasks that were not machine-translated, comma-separated")
    return parser


def _study(options: argparse.Namespace) -> Study:
    """What the options ask for."""
    from dataclasses import replace

    from analysis.reading.study import load, load_published, without_unhealthy

    if (options.store is None) == (options.published is None):
        raise ConfigError("STORE", options.store, "give a store or --published FILE.csv, one of them", "see --help")
    study = load_published(options.published) if options.published else load(options.store)
    if options.curated:
        study = replace(study, curated=tuple(task.strip() for task in options.curated.split(",")))
    return without_unhealthy(study) if options.exclude_unhealthy else study


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 on bad input."""
    options = _parser().parse_args(argv)
    try:
        study = _study(options)
        out = Path(options.out or "report") if options.out or options.published else _default_out(study.origin)
        other = None
        if options.compare:
            from analysis.reading.study import load

            other = load(options.compare)
        summary = write_study(study, out, other)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Report: {summary.index}")
    for line in summary.lines[:5]:
        print(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
