"""What an adapter is trained on, where that is not what is scored: in one language, or as a config says it for all.

A key that is added here must leave every store's identities as they are: `study.identity` says how.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

from pydantic import StrictBool, StrictStr, model_validator

from study.config.fields import Frozen, PositiveInt
from study.config.recipe import LossOn, Truncation

ByLanguage = StrictStr | dict[StrictStr, StrictStr]
Text = TypeVar("Text")
_LANGUAGE = re.compile(r"(?<!\{)\{language\}(?!\})")  # `{{language}}` is a column in a template


class TrainOverride(Frozen, Generic[Text]):
    """What an adapter is trained on, where that is not what is scored.

    A `Text` is one for all languages, in which `{language}` stands for each, or a table `{language: text}`; a language
    that a table leaves out has the task's own. `of` gives what it comes to in one of them.
    """

    doc_to_text: Text | None = None
    doc_to_target: Text | None = None
    dataset_path: Text | None = None
    dataset_name: Text | None = None
    dataset_revision: Text | None = None
    process_docs: StrictBool = False  # whether the task's own prepares the rows of `dataset_path` too
    split: Text | None = None
    where: Text | None = None
    limit: PositiveInt | None = None
    manifest: Text | None = None
    id_field: Text | None = None
    loss_on: LossOn | None = None
    bos: StrictBool = True
    max_length: PositiveInt | None = None
    truncation: Truncation = "left"

    @model_validator(mode="after")
    def _other_data_are_named(self) -> TrainOverride[Text]:
        if self.dataset_path is None and (self.dataset_revision is not None or self.process_docs):
            raise ValueError(
                "dataset_revision and process_docs are of other data: set dataset_path too; the task's own data have "
                "their revision in the task's YAML file (dataset_kwargs: {revision: …}), and its process_docs anyway"
            )
        return self

    def of(self, language: str) -> TrainOverride[str]:
        """What it comes to in a language."""
        return TrainOverride[str].model_validate({key: _in(language, value) for key, value in self})

    def tables(self) -> dict[str, dict[str, str]]:
        """The tables among its keys."""
        return {key: value for key, value in self if isinstance(value, dict)}


def _in(language: str, value: object) -> object:
    value = value.get(language) if isinstance(value, dict) else value
    return _LANGUAGE.sub(language, value) if isinstance(value, str) else value
