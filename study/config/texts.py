"""Raw text to learn from: sources without questions and answers, in the same matrix as all others.

An entry is a task family that is learned from only, of `format: text`; where its text lies is told as its users think.
"""

from __future__ import annotations

from pydantic import StrictStr

from study.config.fields import Frozen, Name, PositiveInt
from study.config.train import ByLanguage, TrainOverride


class TextData(Frozen):
    """A set of `datasets`' own; each may be a table by language, or have `{language}` in it."""

    dataset_path: ByLanguage
    dataset_name: ByLanguage | None = None
    dataset_revision: ByLanguage | None = None
    split: ByLanguage | None = None


class TextConfig(Frozen):
    """Text of one kind in each language; a table may leave languages out. `limit` draws so many rows."""

    name: Name
    data: ByLanguage | TextData
    field: StrictStr = "text"
    limit: PositiveInt | None = None

    @property
    def train(self) -> TrainOverride[ByLanguage]:
        """What a task that is learned from only says for the same."""
        where = self.data.model_dump() if isinstance(self.data, TextData) else {"data_files": self.data}
        return TrainOverride[ByLanguage](format="text", field=self.field, limit=self.limit, **where)
