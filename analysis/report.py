"""`python -m analysis.report STORE`: tables, figures and one page that a reader needs nothing else for.

Reads the store (or the reference study's published CSV), writes the report, and prints where the page is and the most
telling lines. Nothing heavy is imported before the options are known to be right.
"""

from __future__ import annotations

import argparse
import sys

from study.errors import ConfigError
from study.options import folder_here
from study.plain import say, tell


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
    from analysis.page import files

    try:
        if options.compare and options.store is None and options.published is None:
            problem = "each of these is set beside a study, and none is named before them"
            fix = "name it first: python -m analysis.report STORE --compare OTHER …"
            raise ConfigError("--compare", " ".join(options.compare), problem, fix)
        study = files.read(
            options.store, options.published, options.curated, options.exclude_unhealthy, options.distances
        )
        elsewhere = options.out or ("report" if options.published else None)
        out = folder_here("--out", elsewhere) if elsewhere else files.folder_of(study)
        written = files.write(study, out, [files.beside_it(other) for other in options.compare])
    except ConfigError as error:
        say(error, sys.stderr)
        return 2
    if options.json:
        tell({"index": str(written.index), "lines": written.lines})
        return 0
    say(f"Report: {written.index}")
    for line in written.lines:
        say(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
