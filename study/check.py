"""`python -m study.check STORE [--repair] [--compact]`: whether a store holds what it says it holds.

Every file is read: records and Parquet parts against their checksums, parts against the schema, item rows against the
number that the scores state. What no run has left whole is a problem, and so is what a killed run has left lying about.
`--repair` moves damaged files to `<store>/damaged/`, removes what is of no use, and has units whose results are damaged
done again by the next run. Nothing that is whole is ever touched.

`--compact` puts the many small files of the results into few large ones, with the same rows; alone it checks nothing
but what it puts together, and leaves what is damaged as it is.

A store that does not answer is no damaged one: the check ends there, as it does when another process takes the store
over, and what was repaired until then stays repaired.

Exit codes: 0 nothing is wrong, or all of it was repaired; 1 something is wrong; 2 there is no store, it is in use, or
it cannot be read or written.
"""

from __future__ import annotations

import argparse
import sys

from study.audit.audit import Audit
from study.audit.findings import Findings, Problem
from study.ending import end_by_signal
from study.errors import ConfigError
from study.plain import say, tell
from study.store import schema
from study.store.compaction import compact, settle
from study.store.contents import Damaged, is_kind
from study.store.filesystem import trouble
from study.store.layout import ADAPTERS, GRID_FILE, LEASE, RECORD_FILE, SCORES, is_lease, is_of_study
from study.store.lease import Lease, holder
from study.store.lost import LeaseLost, stopper
from study.store.parts import undisturbed
from study.store.readable import no_study
from study.store.store import Store
from study.store.study_file import read_study

KEYS = {"repaired": "repaired", "--repair": "repairable", "left": "left"}  # of what programs are told


def check(store: Store, repair: bool, repaired: list[Problem]) -> tuple[Findings, list[Problem]]:
    """Look at a store and, if asked to, repair all that can be. Returns what was seen at first and what is wrong yet.

    What is repaired is added to `repaired` at once.
    """
    if repair:
        settle(store)  # else what a repair leaves out might be in a part that was to go
    first = findings = undisturbed(lambda: Audit(store).run())
    while repair and any(problem.repair for problem in findings.problems):
        for problem in findings.problems:
            if problem.repair is not None:
                problem.repair()
                repaired.append(problem)
        findings = Audit(store).run()  # what was set aside may leave others of no use
    return first, findings.problems


def is_store(store: Store) -> bool:
    """Whether there is a study, though its study.yaml be lost: by what nobody else writes or names so.

    Other folders have files and folders called as those of a store are.
    """
    try:
        if read_study(store) is not None:
            return True
    except Damaged:
        pass  # or a config, which is called so too
    if any(is_lease(file) for file in store.files(LEASE, ".json")) or store.files(SCORES, ".parquet"):
        return True
    if store.exists(GRID_FILE) and is_kind(schema.GRID, store.read(GRID_FILE)):
        return True
    files = (file.rpartition("/") for file in store.files(ADAPTERS, "", recursive=True))
    return any(name == RECORD_FILE or is_of_study(folder) for folder, _, name in files)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m study.check", description="Verify a store; repair it.")
    result.add_argument("store", metavar="STORE", help="the study's store: a folder or a bucket URI")
    result.add_argument("--repair", action="store_true", help="move damaged files aside, remove leftovers, say what")
    result.add_argument("--compact", action="store_true", help="put small files of the results into large ones")
    result.add_argument("--json", action="store_true", help="print what was found as JSON, for programs")
    return result


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    store, repaired, told = Store(options.store), list[Problem](), Told(options.json)
    try:
        if not is_store(store):
            raise no_study("STORE", store.uri)
        if options.repair or options.compact:
            with Lease(store, stopper()):
                return told.end(_mend(store, options.repair, options.compact, repaired, told))
        if (held := holder(store)) is not None:
            told.say(f"in use by {held}: what it is writing just now may look unfinished", "held_by", str(held))
        return told.end(_tell(*check(store, False, repaired), repaired, told))
    except (ConfigError, LeaseLost, OSError) as error:
        _tell_problems(repaired, "repaired", told)
        told.end(2)
        say(f"error: {_reason(store, error)}", sys.stderr)
        return 2


class Told:
    """What a check says: to people line by line, to programs at its end, as one object."""

    def __init__(self, as_json: bool) -> None:
        self._json, self._all = as_json, dict[str, object]()

    def say(self, line: str, key: str | None = None, value: object = None) -> None:
        """A line for people, and what programs are told of it under a key."""
        if key is not None:
            self._all[key] = value
        if line and not self._json:
            say(line)

    def end(self, code: int) -> int:
        if self._json:
            tell(self._all)
        return code


def _mend(store: Store, repair: bool, put_together: bool, repaired: list[Problem], told: Told) -> int:
    """Repair, then compact, as far as that is asked for. Returns the exit code."""
    code = _tell(*check(store, True, repaired), repaired, told) if repair else 0
    if put_together:
        replaced = compact(store)
        lines = [f"{folder}: {count:,} files put together" for folder, count in replaced.items()]
        told.say("\n".join(lines) or "there is nothing to put together", "put_together", dict(replaced))
    return code


def _reason(store: Store, error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{trouble(store.uri, error)}\nThe check ended there; run it again"
    return f"{error}; run the check again" if isinstance(error, LeaseLost) else str(error)


def _tell(found: Findings, left: list[Problem], repaired: list[Problem], told: Told) -> int:
    """Print what was found. Returns the exit code."""
    counts = {name: found.counts[name] for name in ("adapters", "scores", "items", "item parts")}
    told.say(f"read: {', '.join(f'{count:,} {name}' for name, count in counts.items())}", "read", counts)
    told.say("\n".join(f"note: {note}" for note in found.notes), "notes", found.notes)
    _tell_problems(repaired, "repaired", told)
    _tell_problems([problem for problem in left if problem.repair], "--repair", told)
    _tell_problems([problem for problem in left if not problem.repair], "left", told)
    if left:
        told.say(f"{len(left):,} problems" + (" left" if repaired else ""))
    else:
        told.say(f"{len(repaired):,} problems, all repaired" if repaired else "nothing is wrong")
    return 1 if left else 0


def _tell_problems(problems: list[Problem], then: str, told: Told) -> None:
    lines = [f"{problem.file}: {problem.what}\n  {then}: {problem.remedy}" for problem in problems]
    found = [{name: getattr(problem, name) for name in ("file", "what", "remedy")} for problem in problems]
    told.say("\n".join(lines), KEYS[then], found)


if __name__ == "__main__":
    end_by_signal()
    sys.exit(main())
