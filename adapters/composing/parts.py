"""The parts of a composition, read from their folders: plain LoRA alone has factors that can be composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from adapters.folders.folder import AdapterWeights, UnsupportedAdapter, read
from adapters.modules.plain import Plain
from study.composition import Term


def read_parts(
    base: PreTrainedModel, terms: Sequence[Term], folders: Mapping[str, Path], plain: Plain | None = None
) -> tuple[AdapterWeights, ...]:
    """In the order of the terms. `folders` are those of the parts by their adapter_ids; `plain` may have read some.

    Raises UnsupportedAdapter, which names each part that is not plain LoRA on this base and says why.
    """
    plain = plain or Plain(base)
    found = {adapter_id: plain(folder) for adapter_id, folder in folders.items()}
    odd = [f"{adapter_id} ({_why(folders[adapter_id])})" for adapter_id, part in sorted(found.items()) if part is None]
    if odd:
        raise UnsupportedAdapter(f"only plain LoRA can be composed, and these parts are not: {', '.join(odd)}")
    return tuple(part for term in terms if (part := found[term.adapter_id]) is not None)


def _why(folder: Path) -> str:
    try:
        read(folder)
    except UnsupportedAdapter as error:
        return str(error)
    return "not finite, or PEFT puts it on other modules of this model than its matrices are for"
