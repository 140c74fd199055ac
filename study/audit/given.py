"""Adapters of a store that were made elsewhere: whether their files can be read, and which scores they may have spoilt.

Before bases were compared, an evaluator put such an adapter into its own base, and some kinds left there what they had
brought: what it scored next on that base may be wrong. Nobody knows which evaluator it was, so all scores of the model
count from the first that was made of such an adapter. Scores that state `base_compared` are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from study.audit.findings import Findings
from study.audit.repairs import undo
from study.store import checksums, contents
from study.store.contents import Damaged
from study.store.layout import CONFIG_FILE, SCORES, WEIGHTS_FILE, adapter_in, is_given
from study.store.store import Store

_COLUMNS = pa.schema(
    {
        "score_id": pa.string(),
        "model": pa.string(),
        "adapter_id": pa.string(),
        "written_at": pa.timestamp("us", tz="UTC"),
    }
)
_STAYS = ("modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters")


def unreadable(store: Store, folder: str) -> str | None:
    """Say what is wrong with the two files of an adapter made elsewhere, which has no record."""
    for name, parse in ((CONFIG_FILE, contents.mapping), (WEIGHTS_FILE, contents.weights)):
        try:
            parse(store.read(f"{folder}/{name}"))
        except FileNotFoundError:
            return f"{name} is missing"
        except Damaged as error:
            return f"cannot be read ({error})"
    if (other := checksums.changed(store, folder)) is not None:
        return f"{other} is not what was put there"
    return None


class Spoilt:
    """The scores of a store that an adapter in one of `folders` may have spoilt."""

    def __init__(self, store: Store, folders: Iterable[str]) -> None:
        self._store = store
        reasons = {adapter_in(folder): _stays(store, folder) for folder in folders if is_given(folder)}
        self._reasons = {adapter_id: reason for adapter_id, reason in reasons.items() if reason is not None}
        self._rows = [_COLUMNS.empty_table()]

    def add(self, part: pa.Table) -> None:
        """Look at the rows of a part of the scores."""
        if not self._reasons:
            return
        rows = part.select(_COLUMNS.names)
        if "base_compared" in part.column_names:
            rows = rows.filter(pc.invert(pc.fill_null(part.column("base_compared"), False)))
        self._rows.append(rows.replace_schema_metadata(None).cast(_COLUMNS))

    def tell(self, findings: Findings) -> None:
        """Add a problem for each model that has some."""
        rows = pa.concat_tables(self._rows)
        begun = rows.filter(pc.is_in(rows.column("adapter_id"), pa.array(list(self._reasons), pa.string())))
        for model in sorted(set(begun.column("model").to_pylist())):
            first = begun.filter(pc.equal(begun.column("model"), model)).sort_by("written_at").slice(0, 1)
            after = pc.greater_equal(rows.column("written_at"), first.column("written_at")[0])
            own = rows.filter(pc.and_(pc.equal(rows.column("model"), model), after))
            scores, adapter = set(own.column("score_id").to_pylist()), first.column("adapter_id")[0].as_py()
            findings.add(
                SCORES,
                f"{len(scores):,} scores of {model}, made since adapter {adapter} was put on its base: an older "
                f"release did not take all of it off again ({self._reasons[adapter]})",
                "these scores removed: the next run makes them again",
                partial(undo, self._store, scores),
            )


def _stays(store: Store, folder: str) -> str | None:
    """Say what of an adapter may stay on a base that it was put into; None for plain LoRA, or where it is not known."""
    try:
        config: Mapping[str, Any] = contents.mapping(store.read(f"{folder}/{CONFIG_FILE}"))
    except (FileNotFoundError, Damaged):
        return None
    if config.get("peft_type") != "LORA":
        return f"peft_type {config.get('peft_type')}"
    if config.get("bias", "none") not in ("none", None):
        return f"bias {config['bias']}"
    return next((name for name in _STAYS if config.get(name)), None)
