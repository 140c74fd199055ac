"""The weights of an adapter that was trained elsewhere, as the one safetensors file that a store holds.

Invariant: no code of a folder runs. Where PEFT's own file is there under PEFT's own names, its bytes stay as they are;
pickled tensors are read by torch's restricted unpickler, parts are put together, and what `torch.compile` and training
loops put into names is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from study.bounded import read_mapping
from study.models.given_fits import rows_of_tokens
from study.store.layout import TOKENIZER_FILE, WEIGHTS_FILE
from study.store.safetensors_header import header_in

if TYPE_CHECKING:
    import torch

PICKLED, PARTS = "adapter_model.bin", "adapter_model.safetensors.index.json"
TOKENIZER = (TOKENIZER_FILE, "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
PATTERNS = ("adapter_model*.safetensors", PICKLED, PARTS, *TOKENIZER)
_OTHER_NAMES = (  # what compiling, and a model's own state with the adapter's name in it, put into PEFT's names
    (re.compile(r"_orig_mod\."), ""),
    (re.compile(r"\.modules_to_save\.default\."), "."),
    (re.compile(r"\.lora_magnitude_vector\.default(\.weight)?$"), ".lora_magnitude_vector"),
    (re.compile(r"\.default(?=(\.weight|\.bias)?$)"), ""),
)


def files(folder: Path) -> list[Path]:
    """The files that hold an adapter's weights; none where it has none. Raises ValueError where they cannot be read."""
    if (folder / WEIGHTS_FILE).is_file():
        held = [folder / WEIGHTS_FILE]
    elif (folder / PARTS).is_file():
        try:
            parts = read_mapping((folder / PARTS).read_bytes())["weight_map"].values()
            held = [folder / PARTS, *sorted({folder / Path(name).name for name in parts})]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{PARTS} lists no files: {error!r}") from error
    else:
        return [folder / PICKLED] if (folder / PICKLED).is_file() else []
    for file in held:
        if file.suffix == ".safetensors" and file.is_file():
            header_in(file)
    return held


def shapes(held: list[Path]) -> dict[str, tuple[int, ...]]:
    """The shapes of an adapter's tensors, by the names that they get in a store. Raises ValueError.

    Safetensors say them in their headers; pickled ones have to be read.
    """
    if held[0].name == PICKLED:
        return {_named(name): tuple(tensor.shape) for name, tensor in _tensors(held)}
    headers = (header_in(file).shapes for file in held if file.suffix == ".safetensors")
    return {_named(name): shape for header in headers for name, shape in header.items()}


def tokenizer(folder: Path, own: Mapping[str, tuple[int, ...]], embedded: int | None) -> list[Path]:
    """The files of an adapter's own tokenizer, where its embedding or head has more or fewer rows than the base's.

    Any other adapter is read with the base's tokenizer, whatever lies beside it.
    """
    if embedded is None or not rows_of_tokens(own) - {embedded}:
        return []
    return [file for name in TOKENIZER if (file := folder / name).is_file()]


def as_one_file(folder: Path) -> bytes:
    """An adapter's weights as the bytes of one safetensors file. Raises ValueError for what cannot be read."""
    held = files(folder)
    if held[0].name == WEIGHTS_FILE and all(_named(name) == name for name in header_in(held[0]).shapes):
        return held[0].read_bytes()
    from safetensors.torch import save

    return save({_named(name): tensor for name, tensor in _tensors(held)}, metadata={"format": "pt"})


def _named(name: str) -> str:
    for other, ours in _OTHER_NAMES:
        name = other.sub(ours, name)
    return name


def _tensors(held: list[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for file in held:
        try:
            if file.suffix == ".safetensors":
                yield from load_file(file).items()
            elif file.name == PICKLED:
                read = torch.load(file, map_location="cpu", weights_only=True)
                yield from ((str(name), tensor.contiguous().clone()) for name, tensor in read.items())
        except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{file.name} holds no weights that can be read without running code: {reason}") from error
