"""How a study's texts are read for an adapter that reads them otherwise than the base does.

One that puts vectors before each text leaves less room for it; one that was trained with tokens of its own brings their
tokenizer. Invariant: subjects share requests only where these are made of the same tokens, cut at the same length.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from adapters.base.loading import tokenizer_in
from adapters.modules.loaded import one_line, virtual_tokens
from adapters.modules.vocabulary import own_rows
from evaluators.items.encoder import Encoder
from evaluators.subjects.on_base import AdapterError
from evaluators.waves import Waves
from study.models.chat import templates_of
from study.store.layout import TOKENIZER_FILE

Make = Callable[[Encoder, bool], Waves]  # waves for an encoder, and whether options may share their prompt


class Readings:
    """Of one base, whose encoder is given. `chats` are the chat templates that are asked for."""

    def __init__(self, base: PreTrainedModel, encoder: Encoder, chats: frozenset[bool | str], make: Make) -> None:
        self._base, self._encoder, self._chats, self._make = base, encoder, chats, make
        self._known: dict[tuple[str, int], Waves] = {}

    def of(self, folder: Path) -> Waves | None:
        """What reads texts for an adapter; None where it reads them as the base does. Raises AdapterError."""
        before, rows = virtual_tokens(folder), own_rows(folder, self._base)
        if not before and rows is None:
            return None
        encoder = self._encoder if rows is None else self._own(folder, rows)
        if before >= encoder.max_length:
            raise AdapterError(f"its {before} virtual tokens leave no room: {encoder.max_length} tokens are read")
        key = encoder.identity, before
        if key not in self._known:
            self._known[key] = self._make(encoder.shortened(before) if before else encoder, not before)
        return self._known[key]

    def _own(self, folder: Path, rows: int) -> Encoder:
        """The encoder of an adapter whose embedding has so many rows."""
        if not (folder / TOKENIZER_FILE).is_file():
            raise AdapterError(f"its embedding has {rows} rows, and no {TOKENIZER_FILE} lies beside it")
        try:
            tokenizer = tokenizer_in(folder)
            encoder = Encoder(self._encoder.model, tokenizer)
        except Exception as error:  # a stranger's file: anything can be raised
            raise AdapterError(f"its tokenizer cannot be used: {one_line(error)}") from error
        if len(tokenizer) > rows:
            raise AdapterError(f"its tokenizer has {len(tokenizer)} tokens, and its embedding {rows} rows")
        if self._chats and not tokenizer.chat_template:
            raise AdapterError("its tokenizer has no chat template, and scoring.apply_chat_template asks for one")
        if lacking := [one for one in self._chats if one is not True and one not in templates_of(tokenizer)]:
            raise AdapterError(f"its tokenizer has no chat template {lacking[0]!r} (scoring.apply_chat_template)")
        return encoder
