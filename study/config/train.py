"""What an adapter is trained on, where that is not what is scored: in one language, or as a config says it for all.

A key that is added here must leave every store's identities as they are: `study.identity` says how.
"""

from __future__ import annotations

import re
from typing import Generic, Literal, TypeVar

from pydantic import StrictBool, StrictStr, model_validator

from study.config.fields import Frozen, PositiveInt
from study.config.recipe import LossOn, Truncation

ByLanguage = StrictStr | dict[StrictStr, StrictStr]
Text = TypeVar("Text")
Format = Literal["text", "prompt_completion", "messages"]
Objective = Literal["causal", "prefix"]
_LANGUAGE = re.compile(r"(?<!\{)\{language\}(?!\})")  # `{{language}}` is a column in a template


class TrainOverride(Frozen, Generic[Text]):
    """What an adapter is trained on, where that is not what is scored.

    A `Text` is one for all languages, in which `{language}` stands for each, or a table `{language: text}`; a language
    that a table leaves out has the task's own. `of` gives what it comes to in one of them.
    """

    format: Format | None = None  # of the rows; None is a pair of templates
    field: Text | None = None  # the column of a row's text or messages
    objective: Objective = "causal"  # of raw text: all of a chunk is learned, or what follows a cut that is drawn
    system_prompt: Text | None = None  # of conversations that have none
    append_eos: StrictBool | None = None  # whether the answer ends with EOS; None is as format or task does
    doc_to_text: Text | None = None
    doc_to_target: Text | None = None
    dataset_path: Text | None = None
    data_files: Text | None = None
    dataset_name: Text | None = None
    dataset_revision: Text | None = None
    process_docs: StrictBool = False  # whether the task's own prepares the rows of `dataset_path` too
    split: Text | None = None
    where: Text | None = None
    limit: PositiveInt | None = None
    sizes: tuple[PositiveInt, ...] = ()  # of samples of these rows that are sources beside them, for a learning curve
    manifest: Text | None = None
    rows_of: Text | None = None  # a language whose rows these are, as far as the data have them
    id_field: Text | None = None
    loss_on: LossOn | None = None
    bos: StrictBool = True
    max_length: PositiveInt | None = None
    truncation: Truncation = "left"

    @property
    def names_data(self) -> bool:
        """Whether it names data of its own."""
        return self.dataset_path is not None or self.data_files is not None

    @model_validator(mode="after")
    def _format_has_its_keys(self) -> TrainOverride[Text]:
        if self.field is not None and self.format not in ("text", "messages"):
            raise ValueError("field names the column of a row's text or messages: set format: text, or messages")
        if self.system_prompt is not None and self.format != "messages":
            raise ValueError("system_prompt is of conversations: set format: messages")
        if self.format in ("text", "messages") and (self.doc_to_text is not None or self.doc_to_target is not None):
            raise ValueError(f"doc_to_text and doc_to_target are of pairs: leave them out with format: {self.format}")
        if self.format == "messages" and self.append_eos is not None:
            raise ValueError("append_eos is for texts: a conversation ends as the model's chat template says")
        if self.format in ("text", "messages") and not self.bos:
            how = "each chunk of a raw text begins with it" if self.format == "text" else "the chat template decides"
            raise ValueError(f"bos: false is of pairs: leave it out with format: {self.format}, where {how}")
        if self.objective != "causal" and self.format != "text":
            raise ValueError("objective is of raw text: set format: text, or leave it out")
        if self.format == "text" and self.loss_on is not None:
            raise ValueError("loss_on is of answers: all of a raw text is learned, leave it out with format: text")
        if self.format == "text" and self.truncation != "left":
            raise ValueError(
                "truncation is of what is cut off: a raw text is cut into chunks, all of which are learned"
            )
        return self

    @model_validator(mode="after")
    def _other_data_are_named(self) -> TrainOverride[Text]:
        if not self.names_data and (self.dataset_revision is not None or self.process_docs):
            raise ValueError(
                "dataset_revision and process_docs are of other data: set dataset_path too; the task's own data have "
                "their revision in the task's YAML file (dataset_kwargs: {revision: …}), and its process_docs anyway"
            )
        if self.dataset_path is None and self.dataset_revision is not None:
            raise ValueError(
                "dataset_revision is of a set on the Hub, and data_files alone name none: leave it out, or set "
                "dataset_path too"
            )
        return self

    def of(self, language: str) -> TrainOverride[str]:
        """What it comes to in a language; without data of its own there, keys of such data say nothing."""
        own = {key: _in(language, value) for key, value in self}
        if own["dataset_path"] is None:
            own |= {"dataset_revision": None}
            own |= {"process_docs": False} if own["data_files"] is None else {}
        return TrainOverride[str].model_validate(own)

    def tables(self) -> dict[str, dict[str, str]]:
        """The tables among its keys."""
        return {key: value for key, value in self if isinstance(value, dict)}


def _in(language: str, value: object) -> object:
    value = value.get(language) if isinstance(value, dict) else value
    return _LANGUAGE.sub(language, value) if isinstance(value, str) else value
