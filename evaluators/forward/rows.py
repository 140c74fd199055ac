"""Rows: what the model reads at once to score the options of one item.

A row is a forest of token tries. Each request reads its tokens but the last; requests that begin alike share the
nodes of what they have in common, so a prompt is read once for all its options, and an option that is one
token long costs nothing of its own. Nodes stand in depth-first order, which makes attention one comparison:
node j is node i or one of its ancestors exactly when j <= i < end[j], where end[j] is one past j's last descendant.
A node's position is its depth. A row that does not branch is ordinary causal text and needs no mask.

Shapes: N nodes of a row, S scored tokens of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Request:
    """One option to score: the log-likelihood of the last `n_scored` of `tokens`.

    Invariant: 1 <= n_scored < len(tokens), and len(tokens) - 1 is at most the model's maximum length.
    """

    tokens: tuple[int, ...]
    n_scored: int


@dataclass(frozen=True)
class Row:
    """One row. Scored token s is `want_S[s]`, predicted at node `at_S[s]`, and belongs to request `owner_S[s]`."""

    tokens_N: Ints
    depth_N: Ints
    end_N: Ints
    at_S: Ints
    want_S: Ints
    owner_S: Ints
    slot: int | None = None  # of the engine's bank, whose adapter reads it; None for the model as it stands

    @property
    def is_chain(self) -> bool:
        """No branch: every node's subtree runs to the end of the row."""
        return int(self.end_N.min()) == len(self.tokens_N)

    @property
    def reach(self) -> int:
        """How many positions it has."""
        return int(self.depth_N.max()) + 1

    def numbered_from(self, first: int, slot: int | None = None) -> Row:
        """The same row for the adapter in a slot, with its requests' numbers raised by `first`."""
        return replace(self, owner_S=self.owner_S + np.int32(first), slot=slot)

    def __len__(self) -> int:
        return len(self.tokens_N)


def shared_rows(requests: Sequence[Request], owners: Sequence[int], cap: int) -> list[Row]:
    """The requests in as few rows as hold `cap` nodes each (a row with one request may be longer).

    `owners` are the numbers by which the caller knows the requests. Dense attention costs the square of a row's length,
    hence the cap.
    """
    rows: list[Row] = []
    trie = _Trie()
    for number in sorted(range(len(requests)), key=lambda n: requests[n].tokens):
        if trie.tokens and trie.length_with(requests[number]) > cap:
            rows.append(trie.row())
            trie = _Trie()
        trie.add(requests[number], owners[number])
    return [*rows, trie.row()] if trie.tokens else rows


def plain_rows(requests: Sequence[Request], owners: Sequence[int]) -> list[Row]:
    """The requests in rows that do not branch: only one that reads a beginning of another's text shares its row."""
    rows: list[Row] = []
    trie = _Trie()
    for number in sorted(range(len(requests)), key=lambda n: requests[n].tokens):
        if trie.tokens and not trie.continues(requests[number]):
            rows.append(trie.row())
            trie = _Trie()
        trie.add(requests[number], owners[number])
    return [*rows, trie.row()] if trie.tokens else rows


def sides(numbers: Iterable[int], requests: Sequence[Request], turn: int | None) -> list[list[int]]:
    """The numbers of requests that read no more than `turn` positions, and of those that read more, where there are."""
    near: list[int] = []
    far: list[int] = []
    for number in numbers:
        (near if turn is None or len(requests[number].tokens) - 1 <= turn else far).append(number)
    return [side for side in (near, far) if side]


class _Trie:
    """A row in the making. Requests come in lexicographic order, so each branches off the path of the one before."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._depth: list[int] = []
        self._end: list[int] = []
        self._path: list[int] = []  # nodes from the root to the last one added
        self._at: list[int] = []
        self._want: list[int] = []
        self._owner: list[int] = []

    def _common(self, request: Request) -> int:
        """How many of the nodes on the current path the request reads too."""
        read = len(request.tokens) - 1
        for depth, node in enumerate(self._path):
            if depth == read or self.tokens[node] != request.tokens[depth]:
                return depth
        return len(self._path)

    def continues(self, request: Request) -> bool:
        """Whether adding the request leaves a chain a chain."""
        common = self._common(request)
        return common == len(self._path) or common == len(request.tokens) - 1

    def length_with(self, request: Request) -> int:
        return len(self.tokens) + len(request.tokens) - 1 - self._common(request)

    def add(self, request: Request, owner: int) -> None:
        read, first = len(request.tokens) - 1, len(request.tokens) - request.n_scored
        common = self._common(request)
        if common < read:
            self._close(common)
            for depth in range(common, read):
                self._path.append(len(self.tokens))
                self.tokens.append(request.tokens[depth])
                self._depth.append(depth)
                self._end.append(0)
        for depth in range(first, read + 1):
            self._at.append(self._path[depth - 1])
            self._want.append(request.tokens[depth])
            self._owner.append(owner)

    def _close(self, depth: int) -> None:
        for node in self._path[depth:]:
            self._end[node] = len(self.tokens)
        del self._path[depth:]

    def row(self) -> Row:
        self._close(0)
        fields = (self.tokens, self._depth, self._end, self._at, self._want, self._owner)
        tokens, depth, end, at, want, owner = (np.asarray(field, dtype=np.int32) for field in fields)
        return Row(tokens, depth, end, at, want, owner)
