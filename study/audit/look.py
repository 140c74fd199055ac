"""How an audit looks at a file: what is wrong with its bytes becomes a problem, trouble of the store ends the audit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from study.audit.findings import Findings
from study.audit.repairs import set_aside
from study.store.contents import Damaged
from study.store.layout import DAMAGED
from study.store.schema import OtherVersion
from study.store.store import Store


class Look:
    """What is found of a store, and ways to look at its files."""

    def __init__(self, store: Store) -> None:
        self.store, self.found = store, Findings()

    def _differs(self, file: str, stated: str) -> str | None:
        data = self._read(file)
        if data is None:
            return f"{file.rpartition('/')[2]} is missing"
        if hashlib.sha256(data).hexdigest() != stated:
            return f"{file.rpartition('/')[2]} has another checksum than its record states"
        return None

    def _read(self, file: str) -> bytes | None:
        """Read a file; None when there is none, or none any more."""
        try:
            return self.store.read(file)
        except FileNotFoundError:
            return None

    def _wrong(self, file: str, parse: Callable[[bytes], object]) -> str | None:
        """Say why a parser takes a file for damaged; None where it does not, or where there is no file."""
        data = self._read(file)
        try:
            if data is not None:
                parse(data)
        except Damaged as error:
            return str(error)
        return None

    def _each(self, folder: str, check: Callable[[str, bytes], None], then: str) -> None:
        """Look at every Parquet file of a folder of which no other file tells."""
        for file in self.store.files(folder, ".parquet"):
            try:
                if wrong := self._wrong(file, partial(check, file)):
                    self._damaged(file, wrong, then)
            except OtherVersion as error:
                self.found.add(file, str(error), "not by this program", None)

    def _damaged(self, file: str, what: str, then: str) -> None:
        self.found.add(file, what, f"moved to {DAMAGED}/; {then}", partial(set_aside, self.store, file))
