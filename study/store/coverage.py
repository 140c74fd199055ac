"""Which scores of a grid are there: a matrix of its subjects × its targets, marked from a store's rows.

No row is looked at by itself: Parquet keeps a column of identities as numbers into a list of its few different values,
so only these are looked up, and a study of 100 million scores takes seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from study.store.store import SCORED


class Coverage:
    """`there[i, j]`: whether subject i has a score on target j. Other scores are `stale`, of an older config."""

    def __init__(self, subjects: Sequence[str], targets: Sequence[str], scored: Iterable[pa.RecordBatch]) -> None:
        """`scored` are rows as Store.scored gives them. Raises ValueError where an identity stands there twice."""
        self.there: np.ndarray = np.zeros((len(subjects), len(targets)), dtype=bool)
        flat, numbers = self.there.reshape(-1), (_Numbers(()), _Numbers(subjects), _Numbers(targets))
        stale: list[np.ndarray] = []
        for batch in scored:
            pairs = zip(numbers, SCORED, strict=True)
            model, row, column = (names.of(batch.column(name)) for names, name in pairs)
            if all(names.are_known(batch.column(name)) for names, name in zip(numbers[1:], SCORED[1:], strict=True)):
                flat[row * len(targets) + column] = True
                continue
            known = (row < len(subjects)) & (column < len(targets))
            self.there[row[known], column[known]] = True
            stale.append(np.unique(np.stack([model, row, column], axis=1)[~known], axis=0))
        self._models = list(numbers[0].names)
        self._stale = np.unique(np.concatenate(stale), axis=0)[:, 0] if stale else np.empty(0, dtype=np.int64)

    def stale(self) -> Counter[str]:
        """Count the scores that belong to no subject or target of the grid, by model."""
        counts = np.bincount(self._stale, minlength=len(self._models))
        return Counter({name: int(n) for name, n in zip(self._models, counts, strict=True) if n})


class _Numbers:
    """Numbers for names, in the order in which they come."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = {name: number for number, name in enumerate(names)}
        self._known = len(names)
        if len(self.names) < len(names):
            raise ValueError(f"{len(names) - len(self.names)} identities stand there twice")

    def of(self, column: pa.DictionaryArray) -> np.ndarray:
        """Number each row; a name that is new gets the next number."""
        names = self.names
        values = [names.setdefault(value, len(names)) for value in column.dictionary.to_pylist()]
        rows: np.ndarray = np.array(values, dtype=np.int64)[column.indices.to_numpy(zero_copy_only=False)]
        return rows

    def are_known(self, column: pa.DictionaryArray) -> bool:
        """Whether all names of a column were there from the beginning."""
        return all(self.names[value] < self._known for value in column.dictionary.to_pylist())
