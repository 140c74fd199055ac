"""Adapters of a store that were made elsewhere: whether their files can be read, and which scores they may have spoilt.

Before bases were compared, an evaluator put such an adapter into its own base, and some kinds left there what they had
brought: what it scored next on that base may be wrong. Nobody knows which evaluator it was, so all scores of the model
count from the first that was made of such an adapter. Scores that state `base_compared` are right. Those go that the
next run makes again; the others stay, and state that it is false: with the first score, what dates them may go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from study.audit.asked import Asked, doubted
from study.audit.findings import Findings
from study.audit.repairs import doubt, undo
from study.store import checksums, contents
from study.store.contents import Damaged
from study.store.layout import CONFIG_FILE, WEIGHTS_FILE, adapter_in, is_given
from study.store.store import Store

_COLUMNS = pa.schema(
    {
        "score_id": pa.string(),
        "model": pa.string(),
        "adapter_id": pa.string(),
        "base_compared": pa.bool_(),
        "again": pa.bool_(),
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

    def __init__(self, store: Store, folders: Iterable[str], asked: Asked) -> None:
        self._store, self._asked = store, asked
        reasons = {adapter_in(folder): _stays(store, folder) for folder in folders if is_given(folder)}
        self._reasons = {adapter_id: reason for adapter_id, reason in reasons.items() if reason is not None}
        self._rows = [_COLUMNS.empty_table()]

    def add(self, part: pa.Table) -> None:
        """Look at the rows of a part of the scores."""
        if "base_compared" not in part.column_names:
            part = part.append_column("base_compared", pa.nulls(part.num_rows, pa.bool_()))
        compared = part.column("base_compared")
        rows = part.filter(pc.invert(pc.fill_null(compared, False)) if self._reasons else pc.equal(compared, False))
        rows = rows.append_column("again", self._asked.makes_again(rows))
        self._rows.append(rows.select(_COLUMNS.names).replace_schema_metadata(None).cast(_COLUMNS))

    def tell(self, findings: Findings) -> None:
        """Add a problem for each model that has some which the next run makes again, a note for those that stay."""
        rows = pa.concat_tables(self._rows)
        begun = rows.filter(pc.is_in(rows.column("adapter_id"), pa.array(list(self._reasons), pa.string())))
        known = pc.fill_null(pc.equal(rows.column("base_compared"), False), False)
        models = begun.column("model").to_pylist() + rows.filter(known).column("model").to_pylist()
        for model in sorted(set(models)):
            first = begun.filter(pc.equal(begun.column("model"), model)).sort_by("written_at").slice(0, 1)
            doubtful, since = known, "since an adapter was"
            if first.num_rows:
                after = pc.greater_equal(rows.column("written_at"), first.column("written_at")[0])
                adapter = first.column("adapter_id")[0].as_py()
                doubtful, since = pc.or_(known, after), f"since adapter {adapter} ({self._reasons[adapter]}) was"
            own = rows.filter(pc.and_(pc.equal(rows.column("model"), model), doubtful))
            others = set(own.filter(pc.invert(own.column("again"))).column("score_id").to_pylist())
            scores = set(own.column("score_id").to_pylist()) - others
            what = f"of {model}, made {since} put on its base: an older release did not take all of it off again"
            doubted(findings, scores, others, what, partial(_repair, self._store, scores, others))


def _repair(store: Store, scores: set[str], others: set[str]) -> None:
    doubt(store, others)
    undo(store, scores)


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
