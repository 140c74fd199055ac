"""seen.json: what planning saw of a study's data that its report needs and no unit has. Each run writes it anew.

That is which items hang together, how its languages are written, what tokenizers make of them, what the first sentence
of each document is worth as its summary, prompts that a model does not read whole, and texts that hold what is scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from study.store import contents
from study.store.contents import Damaged, as_damaged, reading
from study.store.layout import SEEN_FILE
from study.store.store import Store

Groups = Mapping[str, tuple[int, ...]]  # by name: numbers (doc_id) of the items that hang together


@dataclass(frozen=True)
class SeenTarget:
    """A target that is answered in words. `data` tells whether it is the same still.

    `recognised` is the share of its right answers that the guess takes for its language's; `lead` are the values (0 to
    1) of the first sentences of its documents as answers, `lead_language` the share of these in its language, and
    `lead_length` their characters on average. None where that is not known.
    """

    data: str
    recognised: float | None = None
    lead: Mapping[str, float] = field(default_factory=dict)
    lead_language: float | None = None
    lead_length: float | None = None


@dataclass(frozen=True)
class SeenTokens:
    """What a model's tokenizer makes of languages: tokens per character, and the share that two have in common."""

    fertility: Mapping[str, float]
    overlap: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Seen:
    """`trigrams` of each language (`study.languages`), targets by cell, `cut` prompts by model and cell, `notes`.

    `tokens` are by model, `groups` of items by cell.
    """

    trigrams: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    targets: Mapping[str, SeenTarget] = field(default_factory=dict)
    cut: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tokens: Mapping[str, SeenTokens] = field(default_factory=dict)
    groups: Mapping[str, Groups] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes) -> Seen:
        """Parse seen.json, as far as this release knows what it says. Raises Damaged."""
        read = contents.mapping(data)
        with as_damaged(KeyError, TypeError, ValueError, AttributeError):
            known, targets = SeenTarget.__dataclass_fields__, read["targets"].items()
            return cls(
                {str(name): {str(one): int(n) for one, n in own.items()} for name, own in read["trigrams"].items()},
                {str(cell): SeenTarget(**{name: one[name] for name in known if name in one}) for cell, one in targets},
                {str(model): {str(cell): int(n) for cell, n in own.items()} for model, own in read["cut"].items()},
                tuple(map(str, read["notes"])),
                {str(model): _tokens(own) for model, own in read.get("tokens", {}).items()},  # of no older release
                {str(cell): _groups(own) for cell, own in read.get("groups", {}).items()},  # nor these
            )


def _tokens(stated: Mapping[str, Any]) -> SeenTokens:
    shared = {str(a): {str(b): float(n) for b, n in own.items()} for a, own in stated["overlap"].items()}
    return SeenTokens({str(name): float(n) for name, n in stated["fertility"].items()}, shared)


def _groups(stated: Mapping[str, Any]) -> Groups:
    return {str(name): tuple(int(number) for number in items) for name, items in stated.items()}


def renew(store: Store, make: Callable[[Seen], Seen]) -> None:
    """Write it anew, of what it said before, where there is anything to say."""
    before = read_seen(store)
    if (found := make(before)) != before:
        store.write(SEEN_FILE, json.dumps(asdict(found), ensure_ascii=False, allow_nan=False).encode())


def read_seen(store: Store) -> Seen:
    """Read it; one that says nothing where there is none, and no more than that it cannot be read where it is damaged.

    All else of a study can be told without it.
    """
    if not store.exists(SEEN_FILE):
        return Seen()
    data = store.read(SEEN_FILE)
    try:
        with reading(SEEN_FILE):
            return Seen.from_bytes(data)
    except Damaged as error:
        return Seen(notes=(f"what planning saw of the data is not known ({error}): the next run writes it anew",))
