"""The keys of a task family: what is asked in each language, which number counts, and what is learned instead."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictStr, field_validator

from study.cells import Cell, original_cell
from study.config.fields import Frozen, Name, Number, PositiveInt
from study.config.recipe import TaskScoring
from study.config.train import ByLanguage, TrainOverride


class TaskConfig(Frozen):
    """A task family: one lm-eval task per language, named by a pattern or a table; without one it is a source alone."""

    name: Name
    lm_eval: StrictStr | dict[StrictStr, StrictStr] | None = None
    include_path: StrictStr | None = None
    trust_code: StrictBool = False
    metric: StrictStr | Annotated[tuple[StrictStr, ...], Field(min_length=1)] | None = None
    harm: Annotated[Number, Field(gt=0)] | None = None
    group_field: StrictStr | None = None  # column whose value items that hang together share: their passage, say
    translation_of: StrictStr | None = None  # a task, or a cell of one, whose items these are in other words
    clip: dict[StrictStr, PositiveInt] = Field(default={})  # fields, and the most characters that are left of each
    scoring: TaskScoring = TaskScoring()
    train: TrainOverride[ByLanguage] = TrainOverride[ByLanguage]()

    @field_validator("lm_eval")
    @classmethod
    def _pattern_names_language(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        if isinstance(value, str) and "{language}" not in value:
            raise ValueError(
                "is a pattern without {language}; write e.g. arc_{language}, or a table {language: task name}"
            )
        return value

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it names, the headline first; none where its task decides."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric or ()

    def lm_eval_name(self, language: str) -> str | None:
        """Name the lm-eval task of this family in that language; None when it has none there."""
        if isinstance(self.lm_eval, str):
            return self.lm_eval.replace("{language}", language)
        return None if self.lm_eval is None else self.lm_eval.get(language)

    def original(self, language: str) -> Cell | None:
        """Name the cell whose items those of its cell in that language are translations of, where it is one."""
        return None if self.translation_of is None else original_cell(self.translation_of, language)

    def exists_in(self, language: str) -> bool:
        """Whether it has a cell in that language: something to score, or to learn where it is a source alone."""
        if self.lm_eval is not None:
            return self.lm_eval_name(language) is not None
        return self.train.of(language).names_data
