"""`python -m analysis.advise STORE`: who helps this target, what will this source harm, what to train next.

Reads the store (or a published CSV) and prints the answer as a table; `analysis/advice` says what it rests on.
"""

from __future__ import annotations

import argparse
import sys

from study.errors import ConfigError
from study.plain import say


def _parser() -> argparse.ArgumentParser:
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
    parser.add_argument("--top", metavar="N", type=int, default=15, help="rows to print (default 15)")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Numbers that ask for nothing are refused."""
    if options.top < 1:
        raise ConfigError("--top", options.top, "that is no number of rows", "give 1 or more")
    if options.budget is not None and options.budget < 1:
        raise ConfigError("--budget", options.budget, "that is no number of sources", "give 1 or more")
    if options.max_harm is not None and not 0 <= options.max_harm <= 100:
        raise ConfigError("--max-harm", options.max_harm, "that is no share", "give a number from 0 to 100")


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 on bad input."""
    options = _parser().parse_args(argv)
    from analysis.advice import answers

    try:
        _check(options)
        study = answers.read(options.store, options.model, options.recipe)
        if options.budget is not None:
            found = answers.next_to_train(study, options.budget)
        elif options.target is not None:
            found = answers.about_target(study, options.target, options.max_harm)
        else:
            found = answers.about_source(study, options.source)
    except ConfigError as error:
        say(error, sys.stderr)
        return 2
    say(found.text(options.top))
    return 0


if __name__ == "__main__":
    sys.exit(main())
