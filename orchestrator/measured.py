"""How fast stores have seen units go: seconds of each source and target of a model, and seconds per token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from study.store import Store

TRAIN, SCORE = "train", "score"


@dataclass
class _Sum:
    seconds: float = 0.0
    tokens: float = 0.0
    units: int = 0


@dataclass
class Measured:
    """Means over what was seen, by (stage, model) and by (stage, model, source or target)."""

    where: str = ""
    params: dict[str, int] = field(default_factory=dict)
    models: dict[tuple[str, str], _Sum] = field(default_factory=dict)
    units: dict[tuple[str, str, str], _Sum] = field(default_factory=dict)

    def add(self, stage: str, model: str, what: str, seconds: float, tokens: float, count: int = 1) -> None:
        for total in (
            self.models.setdefault((stage, model), _Sum()),
            self.units.setdefault((stage, model, what), _Sum()),
        ):
            total.seconds += seconds
            total.tokens += tokens
            total.units += count

    def seconds(self, stage: str, model: str, what: str, otherwise: float) -> float:
        """Mean seconds of a unit that was seen, else `otherwise`."""
        seen = self.units.get((stage, model, what))
        return seen.seconds / seen.units if seen else otherwise

    def rate(self, stage: str, model: str, params: int) -> tuple[float, str] | None:
        """Seconds per token of a model, and how it is known; None where nothing of this stage was seen.

        A model that was not seen goes by the seconds per token and parameter of the others.
        """
        own = self.models.get((stage, model))
        if own and own.tokens:
            return own.seconds / own.tokens, f"the speed measured in {self.where}"
        others = [(total, self.params.get(name, 0)) for (at, name), total in self.models.items() if at == stage]
        work = sum(total.tokens * size for total, size in others)
        if not work:
            return None
        rate = sum(total.seconds for total, size in others if size) / work * params
        return rate, f"the speed of other models in {self.where}, scaled by parameters"


def measure(stores: Iterable[Store]) -> Measured:
    """What the stores have seen. A later store adds only models that no earlier one has seen in that stage."""
    result = Measured()
    for store in stores:
        seen = set(result.models)
        found = _measure(store)
        for (stage, model, what), total in found.units.items():
            if (stage, model) not in seen:
                result.add(stage, model, what, total.seconds, total.tokens, total.units)
                result.where = result.where or store.uri
        result.params |= found.params
    return result


def _measure(store: Store) -> Measured:
    result = Measured()
    for model, params, task, language, seconds, tokens, count in _scored(store).iter_rows():
        result.params[model] = params
        result.add(SCORE, model, f"{task}/{language}", seconds, tokens, count)
    for record in store.records().values():
        result.add(TRAIN, record["model"], "+".join(record["source"]), record["seconds"], record["tokens"]["useful"])
    return result


def _scored(store: Store) -> pl.DataFrame:
    """Sums by model and target: seconds, tokens, units. A unit has a row per metric, of which one counts."""
    texts = ["model", "target_task", "target_language", "metric"]
    keys, names = [texts[0], "model_params", *texts[1:3]], [*texts, "model_params", "seconds", "tokens"]
    sums = [
        pl.DataFrame(pl.from_arrow(batch)).group_by(*keys, "metric").agg(pl.sum("seconds", "tokens"), pl.len())
        for batch in store.score_batches(names, texts)
    ]
    if not sums:
        return pl.DataFrame()
    per_metric = pl.concat([part.with_columns(pl.col(texts).cast(pl.String)) for part in sums])
    units = per_metric.group_by(*keys, "metric").agg(pl.sum("seconds", "tokens", "len"))
    return units.sort(*keys, "metric").unique(keys, keep="first", maintain_order=True).drop("metric")
