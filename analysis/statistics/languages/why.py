"""Why does it transfer? Δ of language pairs on all distances at once, and on each alone.

Model: Δ(s, t) = a(s) + b(t) + Σ_k β_k d_k(s, t) + u{s, t} + e(s, t), over pairs of languages, MT-CL rows averaged.
What a language gives and takes in all is its own (`a`, `b`), and two directions of a pair may be alike (`u`), as in
Kenny and La Voie's social relations model (1984). Distances are symmetric, so the mean of both directions has all that
tells of β; in these N(N−1)/2 means the errors u + (e + e')/2 are independent, for a and b are taken out as an effect of
each language. Least squares on them therefore has exact intervals by Student's t where errors are normal and alike,
whatever languages share a pair. Held to worlds of known truth by a test.

Pairs need not have the same tasks and models: a task that moves much, and that only close languages have, would look
like a slope. Each task of each model has a level of its own, which is taken out first (`levelled`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from analysis.frames import Table, need, transfer_rows
from analysis.reading.study import Study
from analysis.statistics.languages.distances import ALL, WORDS, Distances, distances
from analysis.statistics.languages.uriel import Array
from analysis.statistics.matrices import language_matrix, square

Codes = npt.NDArray[np.int64]
Which = npt.NDArray[np.bool_]
LEVEL = ("model", "source_task", "target_task")  # what has a level of its own
PAIR = ("source_language", "target_language")
LEAST = 5  # languages
LEAST_LEFT = 3  # degrees of freedom from which all are fitted at once
NEEDED = f"and at least {LEAST} are needed"
TOO_FEW = "too few pairs are left to tell errors by"
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


def levelled(transfer: pl.DataFrame) -> pl.DataFrame:
    """`source, target, delta` of language pairs: means over the tasks and models that each has, less their levels.

    Least squares of Δ on a level of each task of each model and an effect of each pair; plain means where every pair
    has all of them.
    """
    rows = transfer_rows(transfer, "MT-CL")
    level, pair = (
        rows.select(pl.struct(names).rank("dense")).to_series().to_numpy().astype(np.int64) - 1
        for names in (LEVEL, PAIR)
    )
    delta, count = rows["delta"].to_numpy(), np.bincount(pair)
    member = np.eye(int(level.max()) + 1)[level]
    sums = np.zeros((len(count), member.shape[1]))
    np.add.at(sums, pair, member)
    within = delta - (np.bincount(pair, delta) / count)[pair]
    levels = np.linalg.lstsq(member - (sums / count[:, None])[pair], within, rcond=None)[0][level]
    return language_matrix(rows.with_columns(pl.Series("delta", delta - levels + levels.mean())))


def why(transfer: pl.DataFrame, known: Distances) -> pl.DataFrame:
    """A row per distance, and one of all together; NotComputable with fewer than five languages.

    A user's distance that some pair lacks which all of ours have is left out, so that it takes none from the others.
    """
    labels = list(known.languages)
    matrix = square(levelled(transfer), labels)
    first, second = np.triu_indices(len(labels), 1)
    delta = ((matrix + matrix.T) / 2)[first, second]
    both = _languages(labels, first, second, ~np.isnan(delta))
    need(len(both) >= LEAST, f"Δ is known in both directions of {len(both)} of its languages, {NEEDED}")
    apart = {name: far[first, second] for name, far in known.known.items()}
    unknown = np.isnan([delta, *(far for name, far in apart.items() if name in WORDS)])
    there = np.asarray(~unknown.any(axis=0))
    in_pairs = _languages(labels, first, second, there)
    need(len(in_pairs) >= LEAST, f"all distances are known of {len(in_pairs)} of its languages, {NEEDED}")
    need(bool(np.ptp(delta[there]) > 1e-9), "no two pairs of languages have another Δ")
    counted = (
        int(there.sum()),
        len(in_pairs),
        ", ".join(name for name in both if name not in in_pairs),
        ", ".join(name for name in labels if name not in both),
    )
    lacking = dict(known.lacking)
    for name, far in apart.items():
        absent = np.flatnonzero(there & np.isnan(far))
        if len(absent):
            one = f"{labels[first[absent[0]]]} and {labels[second[absent[0]]]}"
            lacking[name] = f"is not known of {len(absent)} of the {counted[0]} pairs of languages, as of {one}"
    ends = np.eye(len(labels))[first[there]] + np.eye(len(labels))[second[there]]
    whole = {name: far[there] for name, far in apart.items() if name not in lacking}
    return _rows(delta[there], whole, ends, lacking, counted)


def _languages(labels: Sequence[str], first: Codes, second: Codes, there: Which) -> list[str]:
    """Those of the pairs that are `there`."""
    inside = {*first[there].tolist(), *second[there].tolist()}
    return [name for i, name in enumerate(labels) if i in inside]


def _rows(
    delta: Array, known: Mapping[str, Array], ends: Array, lacking: Mapping[str, str], counted: tuple[int | str, ...]
) -> pl.DataFrame:
    apart = np.array([*known.values()]).reshape(len(known), len(delta)).T
    sd = apart.std(axis=0, ddof=1)
    varies = sd > 1e-9
    apart = apart / np.where(varies, sd, 1.0)
    alone = [fit(delta, apart[:, [k]], ends) if varies[k] else None for k in range(len(sd))]
    tells = np.array([one is not None and not np.isnan(one.slopes[0]) for one in alone], bool)
    together = fit(delta, apart[:, tells], ends) if tells.any() else None
    together = together if together is not None and together.freedom >= LEAST_LEFT else None
    at = np.cumsum(tells) - 1
    nothing: tuple[float | None, ...] = (None,) * 4
    table: list[tuple[object, ...]] = []
    for k, (name, one) in enumerate(zip(known, alone, strict=True)):
        of_all, inflation = nothing, None
        if together is not None and tells[k]:
            of_all, inflation = together.interval(int(at[k])), float(together.inflation[at[k]])
        reason = (
            TOO_FEW if varies[k] and one is None else _reason(bool(varies[k]), bool(tells[k]), together, int(at[k]))
        )
        own = nothing if one is None else one.interval(0)
        table.append((name, *of_all, inflation, *own, sd[k], *counted, reason))
    table += [(name, *nothing, None, *nothing, None, *counted, reason) for name, reason in lacking.items()]
    if together is not None:
        table.append((ALL, None, None, None, _joint(delta, ends, together), None, *nothing, None, *counted, None))
    return pl.DataFrame(table, schema=SCHEMA, orient="row").fill_nan(None)


def _reason(varies: bool, tells: bool, together: Fitted | None, at: int) -> str | None:
    """Why a distance has no slope beside the others; None where it has one."""
    if not varies:
        return "is the same for all pairs"
    if not tells:
        return "says nothing that which languages a pair has does not say"
    if together is None:
        return f"{TOO_FEW} beside all others: it stands alone"
    return "the other distances say the same: it stands alone" if np.isnan(together.slopes[at]) else None


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
    "one_way": "languages whose Δ with no other is known in both directions, in no pair: not trained on, or not scored",
    "lacking": "why it has no slope",
}
_WORDS = ("distance", "without", "one_way", "lacking")
_COUNTS = ("n_pairs", "n_languages")
SCHEMA = {name: pl.String if name in _WORDS else pl.Int64 if name in _COUNTS else pl.Float64 for name in COLUMNS}
TABLES = (
    Table[Study](
        "why",
        "Why does it transfer",
        "language pairs, means of MT-CL rows (levels of tasks and models taken out) and of both directions",
        COLUMNS,
        of_study,
        how="Each language has its own effect, so a slope is of pairs, and those that share a language do not count "
        "twice. A slope below 0: closer languages help more. Distances go together, so that one alone may tell what "
        f"all of them beside each other do not; “{ALL}” says whether anything does.",
    ),
)
