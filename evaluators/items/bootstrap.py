"""A metric of the whole corpus over items drawn anew: what its difference between two subjects varies by.

Invariant: the draws are a function of the number of items alone. So draw b takes the same items under a base and under
its adapters, and the difference of two subjects' b-th values is paired as the difference of two means of items is.
What sacrebleu and scikit-learn sum over items is summed for all draws at once; any other metric is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from lm_eval.api import metrics
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF, TER

from study.data.harness import Aggregation

DRAWS = 200
SEED = 20251113
Floats = NDArray[np.float64]
_SACREBLEU: dict[object, Callable[[], BLEU | CHRF | TER]] = {
    metrics.bleu: BLEU,
    metrics.chrf: CHRF,
    metrics.chrfpp: lambda: CHRF(word_order=2),
    metrics.ter: TER,
}


def replicates(function: Aggregation, values: Sequence[Any]) -> list[float] | None:
    """The metric of each draw; None where it has no value for a part of its items."""
    times_DN = draws(len(values))
    try:
        if function in _SACREBLEU:
            return _sacrebleu(_SACREBLEU[function](), values, times_DN)
        if function in (metrics.matthews_corrcoef, metrics.f1_score):
            tables_DCC = _confusion(values, times_DN)
            found = _mcc(tables_DCC) if function is metrics.matthews_corrcoef else _f1(tables_DCC)
            return [float(value) for value in found]
        return [float(function([v for v, n in zip(values, row, strict=True) for _ in range(n)])) for row in times_DN]
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a task author's aggregation may need all items: then nothing is known but its value
        return None


@lru_cache(4)
def draws(count: int) -> NDArray[np.int64]:
    """DRAWS × count: how often each item is in each draw of as many, with replacement."""
    return np.random.default_rng([SEED, count]).multinomial(count, np.full(count, 1 / count), size=DRAWS)


def _sacrebleu(metric: BLEU | CHRF | TER, values: Sequence[Any], times_DN: NDArray[np.int64]) -> list[float]:
    """By the statistics of each item that its corpus metric is a function of the sums of."""
    references, answers = metrics._sacreformat(*([pair[i] for pair in values] for i in (0, 1)))
    each_NK = np.asarray(metric._extract_corpus_statistics(answers, references))
    return [float(metric._compute_score_from_stats(row.tolist()).score) for row in times_DN @ each_NK]


def _confusion(values: Sequence[Any], times_DN: NDArray[np.int64]) -> Floats:
    """D × C × C: of each draw how often gold i was answered by j. There are always the classes 0 and 1."""
    pairs = [(int(gold), int(answer)) for gold, answer in values]
    if min(min(pair) for pair in pairs) < 0:
        raise ValueError("an item has no right option")
    size = 1 + max(1, *(max(pair) for pair in pairs))
    cell_N = np.array([gold * size + answer for gold, answer in pairs])
    there_NC = (cell_N[:, None] == np.arange(size * size)).astype(np.float64)
    return (times_DN @ there_NC).reshape(-1, size, size)


def _mcc(tables_DCC: Floats) -> Floats:
    """Gorodkin 2004, as scikit-learn computes it: 0 where one class is all there is."""
    right_D, all_D = np.trace(tables_DCC, axis1=1, axis2=2), tables_DCC.sum(axis=(1, 2))
    gold_DC, answer_DC = tables_DCC.sum(axis=2), tables_DCC.sum(axis=1)
    above_D = right_D * all_D - (gold_DC * answer_DC).sum(axis=1)
    below_D = np.sqrt((all_D**2 - (answer_DC**2).sum(axis=1)) * (all_D**2 - (gold_DC**2).sum(axis=1)))
    return np.divide(above_D, below_D, out=np.zeros_like(above_D), where=below_D > 0)


def _f1(tables_DCC: Floats) -> Floats:
    """Of class 1, as lm-eval's: 0 where nobody says it."""
    hit_D, said_D, gold_D = tables_DCC[:, 1, 1], tables_DCC[:, :, 1].sum(axis=1), tables_DCC[:, 1].sum(axis=1)
    return np.divide(2 * hit_D, said_D + gold_D, out=np.zeros_like(hit_D), where=said_D + gold_D > 0)
