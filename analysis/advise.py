"""`python -m analysis.advise STORE`: who helps this target, what will this source harm, what to train next.

Reads the store (or a published CSV) and prints the answer as a table; `analysis/advice` says what it rests on.
"""

from __future__ import annotations

import argparse
import sys

from study.errors import ConfigError
from study.plain import say, tell


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.advise", description="Advice from a transfer study.")
    parser.add_argument("store", metavar="STORE", help="the study's store, or the reference study's published CSV")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--target", metavar="task/language", help="who helps this target most, and at what risk elsewhere"
    )
    what.add_argument("--source", metavar="task/language", help="what an adapter of this source will harm and help")
    what.add_argument("--budget", metavar="N", type=int, help="which N further source cells to train")
    parser.add_argument("--recipe", metavar="R", help="of which recipe, where the study has several")
    parser.add_argument("--model", metavar="M", help="one model only (default: the mean over models)")
    parser.add_argument(
        "--max-harm", metavar="PCT", type=float, help="leave out sources that harm more of their targets, %%"
    )
    parser.add_argument(
        "--distances",
        metavar="FILE.csv",
        help="your own distances of languages: columns source, target, name, value",
    )
    parser.add_argument("--json", action="store_true", help="print every row as JSON, for programs")
    parser.add_argument("--top", metavar="N", type=int, default=15, help="rows to print (default 15)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 on bad input."""
    options = parser().parse_args(argv)
    from analysis.advice.question import Question, answer
    from analysis.reading.study import load

    try:
        if options.top < 1:
            raise ConfigError("--top", options.top, "that is no number of rows", "give 1 or more")
        question = Question(
            options.target,
            options.source,
            options.budget,
            options.max_harm,
            options.model,
            options.recipe,
            options.distances,
        )
        found = answer(lambda: load(options.store), question)
    except ConfigError as error:
        say(f"error: {error}", sys.stderr)
        return 2
    if options.json:
        tell(found.told())
    else:
        say("\n".join(part for part in (found.text(options.top), found.legend()) if part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
