"""Why does it transfer? Δ of language pairs on all distances at once, and on each alone.

Model: Δ(s, t) = a(s) + b(t) + Σ_k β_k d_k(s, t) + u{s, t} + e(s, t), over pairs of languages, MT-CL rows averaged.
What a language gives and takes in all is its own (`a`, `b`), and two directions of a pair may be alike (`u`), as in
Kenny and La Voie's social relations model (1984). Distances are symmetric, so the mean of both directions has all that
tells of β; in these N(N−1)/2 means the errors u + (e + e')/2 are independent, for a and b are taken out as an effect of
each language. Least squares on them therefore has exact intervals by Student's t where errors are normal and alike,
whatever languages share a pair. Held to worlds of known truth by a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from analysis.frames import Table, need
from analysis.reading.study import Study
from analysis.statistics.languages.distances import WORDS, Distances, distances
from analysis.statistics.languages.uriel import Array
from analysis.statistics.matrices import language_matrix, square

ALL = "all together"
LEAST_LEFT = 3  # degrees of freedom from which all are fitted at once
TELLS_NOTHING = 1e-6  # share of a distance that is left beside the languages and the others


@dataclass(frozen=True)
class Fitted:
    """Slopes of K distances per standard deviation, with standard errors, and what is left beside them."""

    slopes: Array
    errors: Array
    inflation: Array
    freedom: int
    squares: float

    def interval(self, k: int) -> tuple[float, float, float, float]:
        """Slope, ends of its 95 % interval, two-sided p."""
        half = stats.t.ppf(0.975, self.freedom) * self.errors[k]
        p = 2 * stats.t.sf(abs(self.slopes[k] / self.errors[k]), self.freedom) if self.errors[k] > 0 else np.nan
        return self.slopes[k], self.slopes[k] - half, self.slopes[k] + half, float(p)


def fit(delta: Array, apart: Array, ends: Array) -> Fitted | None:
    """Regress N pairs' Δ on N × K distances beside an effect of each language (N × L, 1 at both ends).

    None where nothing is left to tell errors by. A distance that the languages and the others tell has NaN.
    """
    left = [one - ends @ np.linalg.lstsq(ends, one, rcond=None)[0] for one in (delta, apart)]
    y, x = left[0], left[1]
    spread = np.linalg.norm(apart - apart.mean(axis=0), axis=0)
    alone = [
        np.linalg.norm(x[:, k] - _others(x, k) @ np.linalg.lstsq(_others(x, k), x[:, k], rcond=None)[0])
        for k in range(x.shape[1])
    ]
    told = np.array(alone) > TELLS_NOTHING * np.maximum(spread, 1e-300)
    freedom = len(delta) - int(np.linalg.matrix_rank(np.column_stack([ends, x])))
    if freedom < 1:
        return None
    slopes: Array = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64)
    squares = float(((y - x @ slopes) ** 2).sum())
    inverse = np.linalg.pinv(x.T @ x)
    errors: Array = np.sqrt(np.maximum(np.diag(inverse), 0.0) * squares / freedom)
    nothing: Array = np.where(told, 1.0, np.nan)
    return Fitted(slopes * nothing, errors * nothing, np.diag(inverse) * (x**2).sum(axis=0) * nothing, freedom, squares)


def _others(x: Array, k: int) -> Array:
    return np.delete(x, k, axis=1)


def why(transfer: pl.DataFrame, known: Distances) -> pl.DataFrame:
    """A row per distance, and one of all together; NotComputable with fewer than five languages."""
    labels = list(known.languages)
    matrix = square(language_matrix(transfer), labels)
    whole = np.stack([(matrix + matrix.T) / 2, *known.known.values()])
    lacking = [
        label
        for i, label in enumerate(labels)
        if np.isnan(whole[1:, i]).all(axis=1).any() or np.isnan(np.delete(whole[0, i], i)).all()
    ]
    kept = [i for i, label in enumerate(labels) if label not in lacking]
    need(len(kept) >= 5, f"all distances are known of {len(kept)} of its languages, and at least 5 are needed")
    first, second = np.array([(a, b) for n, a in enumerate(kept) for b in kept[n + 1 :]]).T
    pairs = whole[:, first, second].T
    there = ~np.isnan(pairs).any(axis=1)
    ends = np.zeros((len(pairs), len(labels)))
    ends[np.arange(len(pairs)), first] = ends[np.arange(len(pairs)), second] = 1.0
    delta, apart, ends = pairs[there, 0], pairs[there, 1:], ends[there]
    need(np.ptp(delta) > 1e-9 if len(delta) else False, "no two pairs of languages have another Δ")
    return _rows(delta, apart, ends, known, len(kept), lacking)


def _rows(
    delta: Array, apart: Array, ends: Array, known: Distances, languages: int, without: Sequence[str]
) -> pl.DataFrame:
    sd = apart.std(axis=0, ddof=1)
    names, nothing = list(known.known), (None,) * 4
    varies = sd > 1e-9
    apart = apart / np.where(varies, sd, 1.0)
    together = fit(delta, apart[:, varies], ends)
    together = together if together is not None and together.freedom >= LEAST_LEFT else None
    at = np.cumsum(varies) - 1
    rows = []
    for k, name in enumerate(names):
        alone = fit(delta, apart[:, [k]], ends) if varies[k] else None
        reason = None if varies[k] else "is the same for all pairs"
        all_of = nothing if together is None or not varies[k] else together.interval(int(at[k]))
        inflation = None if together is None or not varies[k] else float(together.inflation[at[k]])
        rows.append((name, *all_of, inflation, *(nothing if alone is None else alone.interval(0)), sd[k], reason))
    counted = len(delta), languages, ", ".join(without)
    table = [(*row[:-1], *counted, row[-1]) for row in rows]
    table += [(name, *nothing, None, *nothing, None, *counted, reason) for name, reason in known.lacking.items()]
    if together is not None:
        table.append((ALL, None, None, None, _joint(delta, ends, together), None, *nothing, None, *counted, None))
    return pl.DataFrame(table, schema=SCHEMA, orient="row").fill_nan(None)


def _joint(delta: Array, ends: Array, together: Fitted) -> float:
    """p of an F-test that no distance tells anything."""
    before = delta - ends @ np.linalg.lstsq(ends, delta, rcond=None)[0]
    count = len(delta) - int(np.linalg.matrix_rank(ends)) - together.freedom
    ratio = ((before @ before) - together.squares) / count / (together.squares / together.freedom)
    return float(stats.f.sf(ratio, count, together.freedom))


def of_study(study: Study) -> pl.DataFrame:
    long = language_matrix(study.transfer)
    languages = sorted(set(long["source"]) | set(long["target"]))
    return why(study.transfer, distances(study, languages, sorted(set(study.transfer["model"]))))


COLUMNS = {
    "distance": f"{'; '.join(f'{name}: {words}' for name, words in WORDS.items())}; others: of the file of --distances",
    "slope": "change of Δ with a standard deviation more of it, all other distances kept, pp",
    "low": "lower end of its 95 % interval, pp",
    "high": "upper end, pp",
    "p": f"that it is none; in the row “{ALL}”: that no distance tells anything (F-test)",
    "inflation": "by what the variance of its slope is larger for the others that go with it; 1: for nothing",
    "alone": "the same slope where no other distance is kept, pp",
    "alone_low": "lower end of its 95 % interval, pp",
    "alone_high": "upper end, pp",
    "alone_p": "that it is none",
    "sd": "a standard deviation of it, over the pairs",
    "n_pairs": "pairs of languages, both directions in one",
    "n_languages": "languages in them",
    "without": "languages of which a distance is not known, in no pair",
    "lacking": "why it has no slope",
}
_WORDS = ("distance", "without", "lacking")
_COUNTS = ("n_pairs", "n_languages")
SCHEMA = {name: pl.String if name in _WORDS else pl.Int64 if name in _COUNTS else pl.Float64 for name in COLUMNS}
TABLES = (
    Table[Study](
        "why",
        "Why does it transfer",
        "language pairs, means of MT-CL rows and of both directions",
        COLUMNS,
        of_study,
        how="Each language has its own effect, so a slope is of pairs, and those that share a language do not count "
        "twice. A slope below 0: closer languages help more. Distances go together, so that one alone may tell what "
        f"all of them beside each other do not; “{ALL}” says whether anything does.",
    ),
)
