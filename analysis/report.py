"""`python -m analysis.report STORE`: tables, figures and one page that a reader needs nothing else for.

Reads the store (or the reference study's published CSV), writes the report, and prints where the page is and the most
telling lines. Nothing heavy is imported before the options are known to be right.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from analysis.page import as_before
from study.errors import ConfigError
from study.options import folder_here
from study.plain import say, tell
from study.store.layout import STUDY_FILE


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Write the report of a study.")
    parser.add_argument(
        "store", metavar="STORE", nargs="?", help="the study's store: a folder or a bucket URI; STORE#RECIPE for one"
    )
    parser.add_argument(
        "--published", metavar="FILE.csv", help="report on the reference study's published table instead"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write to (default: STORE/report)")
    parser.add_argument(
        "--compare",
        metavar="OTHER",
        nargs="+",
        action="extend",
        default=[],
        help="set other stores, published CSVs, or recipes (STORE#RECIPE) beside this one, which is named before them",
    )
    parser.add_argument(
        "--exclude-unhealthy", action="store_true", help="leave out targets that fail the health checks"
    )
    parser.add_argument(
        "--distances",
        metavar="FILE.csv",
        help="your own distances of languages: columns source, target, name, value",
    )
    parser.add_argument("--json", action="store_true", help="print where the page is, and its lines, as JSON")
    parser.add_argument("--curated", metavar="TASKS", help="tasks that were not machine-translated, comma-separated")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 on bad input."""
    options = parser().parse_args(argv)
    try:
        if (found := _as_before(options)) is None:
            found = _write(options)
    except ConfigError as error:
        say(f"error: {error}", sys.stderr)
        return 2
    index, lines, is_new = found
    if options.json:
        tell({"index": str(index), "lines": lines})
        return 0
    say(f"Report: {index}{'' if is_new else ' (as it was written: nothing that it is made of has changed)'}")
    for line in lines:
        say(f"  {line}")
    return 0


Found = tuple[Path, list[str], bool]  # the page, its most telling lines, whether it was written now


def _as_before(options: argparse.Namespace) -> Found | None:
    """The report that is there, where writing it again would give the same."""
    store = _alone(options)
    if store is None:
        return None
    out = Path(options.out) if options.out else store / as_before.REPORT
    lines = as_before.lines_of(out, as_before.made_of(store, _asked(options)))
    return None if lines is None else (out.absolute() / "index.html", lines, False)


def _alone(options: argparse.Namespace) -> Path | None:
    """The folder of a store of which a report tells, and of nothing beside it."""
    if not options.store or options.published or options.compare or options.distances:
        return None
    return Path(options.store) if (Path(options.store) / STUDY_FILE).is_file() else None


def _asked(options: argparse.Namespace) -> dict[str, object]:
    return {"curated": options.curated, "exclude_unhealthy": options.exclude_unhealthy}


def _write(options: argparse.Namespace) -> Found:
    """Write it. Raises ConfigError."""
    from analysis.page import files

    if options.compare and options.store is None and options.published is None:
        problem = "each of these is set beside a study, and none is named before them"
        fix = "name it first: python -m analysis.report STORE --compare OTHER …"
        raise ConfigError("--compare", " ".join(options.compare), problem, fix)
    store = _alone(options)
    digest = as_before.made_of(store, _asked(options)) if store else ""  # before it is read: it may go on meanwhile
    study = files.read(options.store, options.published, options.curated, options.exclude_unhealthy, options.distances)
    elsewhere = options.out or ("report" if options.published else None)
    out = folder_here("--out", elsewhere) if elsewhere else files.folder_of(study)
    as_before.forget(out)
    written = files.write(study, out, [files.beside_it(other) for other in options.compare])
    if store:
        as_before.note(out, digest, written.lines)
    return written.index, written.lines, True


if __name__ == "__main__":
    sys.exit(main())
