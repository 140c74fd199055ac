"""`python -m analysis.publish STORE --to FOLDER`: adapters with model cards, and results as a data set.

Without --hub nothing leaves this machine and no network is asked: the folder is what would be pushed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from study.errors import ConfigError
from study.options import folder_here, listed
from study.plain import say, tell


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.publish",
        description="Write a study's adapters and results as repositories of the Hub.",
    )
    parser.add_argument("store", metavar="STORE", help="the study's store: a folder or a bucket URI")
    parser.add_argument("--to", metavar="FOLDER", required=True, help="an empty folder, or one that this has written")
    parser.add_argument("--sources", metavar="CELLS", help="only adapters trained on these, comma-separated")
    parser.add_argument(
        "--licence", metavar="ID", help="under which you give away adapters and results, e.g. apache-2.0"
    )
    parser.add_argument("--hub", metavar="OWNER", help="push the folder to this user or organisation of the Hub")
    parser.add_argument("--public", action="store_true", help="make what is pushed public (default: private)")
    parser.add_argument("--json", action="store_true", help="print what was written and pushed as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 on bad input."""
    options = parser().parse_args(argv)
    from analysis.opened import opened
    from analysis.publishing import hub, making

    try:
        to, sources = folder_here("--to", options.to), listed("--sources", options.sources)
        if options.public and not options.hub:
            raise ConfigError("--public", True, "nothing is pushed without --hub", "name --hub OWNER, too")
        wish = making.Wish(sources, options.licence, options.hub)
        tree = making.make(opened(options.store), to, wish)
        pushed = hub.push(tree, options.hub, options.public) if options.hub else []
    except ConfigError as error:
        say(f"error: {error}", sys.stderr)
        return 2
    if options.json:
        repositories = [asdict(one) for one in tree.repositories]
        tell({"folder": str(tree.root), "repositories": repositories, "pushed": pushed})
        return 0
    say(f"{len(tree.repositories):,} repositories, {len(tree.files):,} files: {tree.root}")
    for address in pushed:
        say(f"  {address}")
    if not options.hub:
        say("Nothing was pushed: --hub OWNER does.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
