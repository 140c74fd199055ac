"""Raw text to learn from: sources without questions and answers, in the same matrix as all others.

An entry is a task family that is learned from only, of `format: text`; where its text lies is told as its users think.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Discriminator, Field, StrictStr, Tag

from study.cells import Source
from study.config.fields import Frozen, Name, Number, PositiveInt
from study.config.recipe import Recipe
from study.config.task import TaskConfig
from study.config.train import ByLanguage, Objective, TrainOverride


class TextData(Frozen):
    """A set of `datasets`' own; each may be a table by language, or have `{language}` in it."""

    dataset_path: ByLanguage
    dataset_name: ByLanguage | None = None
    dataset_revision: ByLanguage | None = None
    split: ByLanguage | None = None


def _kind(value: object) -> str:
    """Which of the two `data` is: a table by language is a mapping of texts, too. Brackets: no key of an error."""
    return (
        "data[set]"
        if isinstance(value, TextData) or (isinstance(value, dict) and "dataset_path" in value)
        else "data[files]"
    )


class TextRecipe(Frozen):
    """What adapters of text are trained by, where that is not what `recipe` says; the rest of it is the study's."""

    epochs: PositiveInt | None = None
    learning_rate: Annotated[Number, Field(gt=0)] | None = None
    batch_size: PositiveInt | None = None
    max_length: PositiveInt | None = None

    def over(self, general: Recipe) -> Recipe:
        """What the two come to."""
        return general.model_copy(update=self.model_dump(exclude_none=True))


class TextConfig(Frozen):
    """Text of one kind in each language; a table may leave languages out. `limit` and `sizes` draw so many rows."""

    name: Name
    data: Annotated[
        Annotated[ByLanguage, Tag("data[files]")] | Annotated[TextData, Tag("data[set]")], Discriminator(_kind)
    ]
    field: StrictStr = "text"
    objective: Objective = "causal"
    recipe: TextRecipe = TextRecipe()
    limit: PositiveInt | None = None
    sizes: tuple[PositiveInt, ...] = ()

    def as_task(self) -> TaskConfig:
        """The task family that it is."""
        return TaskConfig(name=self.name, train=self.train)

    @property
    def train(self) -> TrainOverride[ByLanguage]:
        """What a task that is learned from only says for the same."""
        where = self.data.model_dump() if isinstance(self.data, TextData) else {"data_files": self.data}
        how = self.model_dump(include={"field", "objective", "limit", "sizes"})
        return TrainOverride[ByLanguage](format="text", **how, **where)


def recipe_for(source: Source, texts: Sequence[TextConfig], general: Recipe) -> Recipe:
    """What a source is trained by: of texts alone, which say the same, by what they say; else by the general one."""
    if not texts:
        return general
    own = {text.name: text.recipe for text in texts}
    first, *others = (own.get(cell.task) for cell in source.cells)
    return first.over(general) if first is not None and all(one == first for one in others) else general
