"""`python -m study.check STORE [--repair]`: whether a store holds what it says it holds.

Every file is read: records and Parquet parts against their checksums, parts against the schema, item rows against the
number that the scores state. What no run has left whole is a problem, and so is what a killed run has left lying about.
`--repair` moves damaged files to `<store>/damaged/`, removes what is of no use, and has units whose results are damaged
done again by the next run. Nothing that is whole is ever touched.

Exit codes: 0 nothing is wrong, or all of it was repaired; 1 something is wrong; 2 there is no store, or it is in use.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext

from study.audit import Audit, Findings, Problem
from study.errors import ConfigError
from study.lease import Lease, holder
from study.store import ADAPTERS, SCORES, STUDY_FILE, Store


def check(store: Store, repair: bool) -> tuple[Findings, list[Problem]]:
    """Look at a store and, if asked to, repair all that can be. Returns what was found and what is left of it."""
    first = findings = Audit(store).run()
    while repair and any(problem.repair for problem in findings.problems):
        for problem in findings.problems:
            if problem.repair is not None:
                problem.repair()
        findings = Audit(store).run()  # what was set aside may leave others of no use
        first.problems += [p for p in findings.problems if p.repair is not None]
    return first, findings.problems


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m study.check", description="Verify a store; repair it.")
    parser.add_argument("store", help="the study's store: a folder or a bucket URI")
    parser.add_argument("--repair", action="store_true", help="move damaged files aside, remove leftovers, say what")
    options = parser.parse_args(arguments)
    store = Store(options.store)
    try:
        if (
            not store.exists(STUDY_FILE)
            and not store.files(SCORES, ".parquet")
            and not store.files(ADAPTERS, "", recursive=True)
        ):
            raise ConfigError("STORE", store.uri, "holds no study", "name the `store` of a config that was run before")
        if not options.repair and (held := holder(store)) is not None:
            print(f"in use by {held}: what it is writing just now may look unfinished")
        with Lease(store, _lost) if options.repair else nullcontext():
            found, left = check(store, options.repair)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _tell(found, left, options.repair)
    return 1 if left else 0


def _lost(reason: str) -> None:
    print(f"error: another process works on the store now ({reason}); run the check again", file=sys.stderr)


def _tell(found: Findings, left: list[Problem], repaired: bool) -> None:
    counts = ", ".join(f"{found.counts[name]:,} {name}" for name in ("adapters", "scores", "items", "item parts"))
    print(f"read: {counts}")
    for note in found.notes:
        print(f"note: {note}")
    for problem in found.problems:
        print(f"{problem.file}: {problem.what}")
        if repaired and problem.repair is not None:
            print(f"  repaired: {problem.remedy}")
        else:
            print(f"  {'--repair: ' if problem.repair else 'left: '}{problem.remedy}")
    verdict = f"{len(left):,} problems" + (" left" if repaired else "") if left else "nothing is wrong"
    print(verdict if left or not found.problems else f"{len(found.problems):,} problems, all repaired")


if __name__ == "__main__":
    sys.exit(main())
