"""What a gang has learned by the end of an epoch, as one safetensors file: tensors by member, all else in its header.

Invariant: nothing in it depends on the number of processes, the ZeRO stage or the members that trained beside, so any
of a gang's members can go on from it, anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from trainers.checkpoint_header import VERSION, header

Save = Callable[["Checkpoint"], None]


@dataclass(frozen=True)
class MemberState:
    """A member's books (JSON-able), its row of the optimiser while it has steps to go, and its best snapshot so far.

    row [3 or 4, P], float32: weights, both moments, and slow weights if it has any. `kept` holds tensors by their names
    in the adapter's file, `shown` those of every epoch so far, where all are scored.
    """

    books: Mapping[str, Any]
    row: torch.Tensor | None
    kept: Mapping[str, torch.Tensor]
    shown: Mapping[int, Mapping[str, torch.Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A gang after `step` optimiser steps and so many seconds of training, resumed before at the steps `resumed`."""

    step: int
    seconds: float
    resumed: tuple[int, ...]
    members: Mapping[str, MemberState]

    def to_bytes(self, **more: object) -> bytes:
        """The file; `more` is JSON-able and goes into its header."""
        tensors = {}
        for name, member in self.members.items():
            if member.row is not None:
                tensors[f"{name}/row"] = member.row
            tensors.update({f"{name}/kept/{key}": tensor for key, tensor in member.kept.items()})
            for epoch, shown in member.shown.items():
                # One that was kept is there twice: a file's tensors share nothing.
                tensors.update({f"{name}/epoch{epoch}/{key}": tensor.clone() for key, tensor in shown.items()})
        state = {
            "version": VERSION,
            "step": self.step,
            "seconds": self.seconds,
            "resumed": self.resumed,
            "members": {name: member.books for name, member in self.members.items()},
            **more,
        }
        return save(tensors, metadata={"state": json.dumps(state)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Raises ValueError for a file that another version wrote."""
        state, tensors = header(data), load(data)
        if state["version"] != VERSION:
            raise ValueError(f"a checkpoint of version {state['version']}; this program reads {VERSION}")
        members = {}
        for name, books in dict(state["members"]).items():
            start = f"{name}/kept/"
            kept = {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}
            members[name] = MemberState(books, tensors.get(f"{name}/row"), kept, _shown(tensors, name))
        return cls(state["step"], state["seconds"], tuple(state["resumed"]), members)

    @classmethod
    def if_whole(cls, data: bytes | None) -> Checkpoint | None:
        """The checkpoint of a file; None for no file and a damaged one: its gang is trained from its beginning."""
        try:
            return None if data is None else cls.from_bytes(data)
        except (ValueError, KeyError, TypeError, SafetensorError):
            return None


def _shown(tensors: Mapping[str, torch.Tensor], member: str) -> dict[int, dict[str, torch.Tensor]]:
    """A member's snapshots by epoch."""
    found: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{member}/epoch"):
            epoch, _, key = name.removeprefix(f"{member}/epoch").partition("/")
            found.setdefault(int(epoch), {})[key] = tensor
    return found
