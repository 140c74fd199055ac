"""Every distance between languages that is known of a study: by type, descent, place, script, tokenizer, a user's own.

All are symmetric: of a user's that say two values for a pair, one for each direction, the mean counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.reading.own import read_own
from analysis.reading.study import Study
from analysis.statistics.languages import places, uriel
from analysis.statistics.languages.uriel import Array
from study.store.seen import Seen

FERTILITY, OVERLAP = "token_fertility", "token_overlap"
WORDS = {
    "syntax_knn": "URIEL's syntax, cosine",
    "phonology_knn": "URIEL's phonology, cosine",
    "inventory_knn": "URIEL's sounds, cosine",
    "genetic": "families of languages that they share (URIEL after Glottolog), cosine",
    "geographic": "the great circle between where they are spoken (URIEL), as a share of half the way round",
    "script": "0 in one script and 1 in two",
    FERTILITY: "how unlike in tokens per character: |ln| of their ratio, mean over models",
    OVERLAP: "1 less the share of tokens that their texts have in common, mean over models",
}
ALL = "all together"  # the row of the table `why` that is of no distance
NOT_SEEN = "what tokenizers make of the languages is not in the store: the next run writes it"


@dataclass(frozen=True)
class Distances:
    """`known` is L × L by name, NaN where a pair has none; `lacking` says by name why there is none at all."""

    languages: tuple[str, ...]
    known: Mapping[str, Array]
    lacking: Mapping[str, str] = field(default_factory=dict)

    def between(self, name: str, a: str, b: str) -> float:
        return float(self.known[name][self.languages.index(a), self.languages.index(b)])


def with_own(study: Study, file: str | None) -> Study:
    """The study with a user's distances, where there is a file of them. Raises ConfigError."""
    return study if file is None else replace(study, own=read_own(file, frozenset({*WORDS, ALL})))


def distances(study: Study, languages: Sequence[str], models: Sequence[str]) -> Distances:
    """All of them; tokenizers' are of these models."""
    names, lacking = list(languages), dict[str, str]()
    known = {feature: uriel.distances(names, feature) for feature in uriel.FEATURES}
    known |= {"genetic": places.genetic(names), "geographic": places.geographic(names), "script": places.scripts(names)}
    by_tokens = _by_tokens(study.seen, names, models)
    known |= by_tokens
    lacking |= {name: NOT_SEEN for name in (FERTILITY, OVERLAP) if name not in by_tokens}
    known |= {name: _own(pairs, names) for name, pairs in study.own.items()}
    for name in [name for name, apart in known.items() if np.isnan(apart[~np.eye(len(names), dtype=bool)]).all()]:
        lacking[name] = "of no pair of the study's languages is it known"
        del known[name]
    return Distances(tuple(names), known, lacking)


def _by_tokens(seen: Seen, languages: list[str], models: Sequence[str]) -> dict[str, Array]:
    of = [seen.tokens[model] for model in models if model in seen.tokens]
    if not of:
        return {}
    each = np.array([[one.fertility.get(name, np.nan) for name in languages] for one in of])
    shared = np.array([[[one.overlap.get(a, {}).get(b, np.nan) for b in languages] for a in languages] for one in of])
    fertility = np.abs(np.log(each[:, :, None] / each[:, None, :]))
    return {FERTILITY: fertility.mean(axis=0), OVERLAP: 1 - shared.mean(axis=0)}


def _own(pairs: Mapping[tuple[str, str], float], languages: list[str]) -> Array:
    whole = np.array([[pairs.get((a, b), np.nan) for b in languages] for a in languages])
    both = np.stack([whole, whole.T])
    there = ~np.isnan(both)
    with np.errstate(invalid="ignore"):
        mean = np.where(there, both, 0.0).sum(axis=0) / there.sum(axis=0)
    return np.where(np.eye(len(languages), dtype=bool), 0.0, mean)
