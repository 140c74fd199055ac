"""Weights of a kind that PEFT's own modules train, on a skeleton of the base: begun, trained as one row, and written.

Invariants: initial weights are a function of (seed, adapter_id, weight's name) alone; the base's numbers are never
written to; and a folder is only trained for where PEFT, reading it, computes what was trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from torch.func import functional_call
from transformers import PreTrainedModel

from adapters.bank.dropout import Dropout
from adapters.base.loading import shell_of
from adapters.base.positions import positions_of
from adapters.base.probe import agreement, has_prompt, precision, probe, said, tokens_of
from adapters.base.skeleton import skeleton
from adapters.folders.folder import PREFIX, UnsupportedAdapter
from adapters.kinds.by_peft import PeftKind
from adapters.kinds.files import write_files
from adapters.kinds.row import Row
from adapters.modules.loaded import VECTORS, one_line, peft_model, runs
from study.errors import ConfigError
from study.identity import digest
from study.models.resolve import Model
from study.scratch import scratch

NOISE = 0.1  # standard deviation of what is added to an adapter that is compared


class PeftSheet(Row):
    """A skeleton of a frozen base with PEFT's modules in it, or PEFT around it, and one adapter's weights."""

    model: PreTrainedModel

    def __init__(self, base: PreTrainedModel, kind: PeftKind, member: tuple[str, int], device: torch.device) -> None:
        wrapped = _wrapped(base, kind)
        trained = {name: weight for name, weight in runs(wrapped).named_parameters() if weight.requires_grad}
        begun = {name: kind.begin(weight, base, _draw(member, name)) for name, weight in trained.items()}
        super().__init__(begun, sum(weight.numel() for weight in begun.values()), device)
        self.__dict__["_wrapped"] = wrapped  # set as attributes they would become parts
        self.__dict__["model"] = wrapped.get_base_model()

    def logits(
        self, inputs: Mapping[str, object], slots: Sequence[int | None], dropout: Dropout | None
    ) -> torch.Tensor:
        """Rows are of the adapter, or all of the base alone. Vectors that stand before a text come out first."""
        wrapped: PeftModel = self.__dict__["_wrapped"]
        if slots[0] is None:
            with wrapped.disable_adapter():
                alone_BTV: torch.Tensor = self.model(**inputs).logits
            return alone_BTV
        model = runs(wrapped)
        given = {**inputs, "use_cache": has_prompt(model)}
        logits_BTV: torch.Tensor = functional_call(model, self(), kwargs=given).logits
        return logits_BTV

    def copies(self, slot: int, parts: Sequence[torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        return {self._in_file(name): weight for name, weight in super().copies(slot, parts).items()}

    @torch.no_grad()
    def begin(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Raises UnsupportedAdapter where it has other weights than the recipe gives it."""
        own = {self._in_file(name): weight for name, weight in self.views().items()}
        if {name: one.shape for name, one in tensors.items()} != {name: one.shape for name, one in own.items()}:
            raise UnsupportedAdapter("the adapter to begin with has other weights than the recipe gives it")
        for name, weight in own.items():
            weight.copy_(tensors[name])

    def _in_file(self, name: str) -> str:
        return VECTORS if has_prompt(runs(self.__dict__["_wrapped"])) else PREFIX + name.replace(".default", "")


def write(
    folder: Path, kind: PeftKind, base: PreTrainedModel, model: Model, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write an adapter folder, with what PEFT has filled into its configuration for this base."""
    config = _wrapped(base, kind).active_peft_config
    write_files(folder, config.to_dict(), model, tensors)


def check_plan(kind: PeftKind, model: Model, longest: int) -> None:
    """Raise ConfigError where PEFT does not put this kind on a base, or the base does not run with it.

    Without weights only shapes are computed; a base that does not even run so alone is asked when it is loaded.
    """
    tokens = torch.zeros(1, 8, dtype=torch.long, device="meta")
    shell = shell_of(model)
    shell.train(False)
    _check_room(kind, shell, model, longest)
    try:
        wrapped = runs(_wrapped(shell, kind))
        try:
            shell(input_ids=tokens, use_cache=False)
        except Exception:  # noqa: BLE001 - what it computes with hangs on numbers that are not there
            return
        wrapped(input_ids=tokens, use_cache=has_prompt(wrapped))
    except Exception as error:  # PEFT's and a model's own code: anything can be raised
        raise _refused(kind, model, one_line(error)) from error


@torch.no_grad()
def check(kind: PeftKind, base: PreTrainedModel, model: Model) -> None:
    """Raise ConfigError where what is trained on a base would not be what PEFT loads, or hangs on later tokens."""
    tokens_BT = tokens_of(base)
    alone_BTV, length = said(base, tokens_BT), tokens_BT.shape[1]
    try:
        sheet = PeftSheet(base, kind, ("check", 0), base.device)
        noise = NOISE * torch.randn(sheet.weights.shape, generator=_draw(("check", 1), ""))
        sheet.weights.add_(noise.to(base.device))
        given = {"input_ids": tokens_BT, "use_cache": False}
        ours_BTV = sheet.logits(given, [0] * len(tokens_BT), None)[:, -length:].float().log_softmax(-1)
        with scratch() as local:
            kind.write(local / "adapter", base, model, sheet.copies(0))
            loaded = runs(peft_model(base, local / "adapter"))
        theirs_BTV = said(loaded, tokens_BT)
        trouble = probe(loaded, tokens_BT, theirs_BTV).trouble
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # PEFT's and a model's own code: anything can be raised
        raise _refused(kind, model, one_line(error)) from error
    found = agreement(ours_BTV, theirs_BTV, alone_BTV, precision(base))
    if not found.holds:
        trouble = f"PEFT loads an adapter of this model otherwise than it is trained ({found.off:.2g} nats)"
    if trouble is not None:
        raise _refused(kind, model, trouble)


def _check_room(kind: PeftKind, shell: PreTrainedModel, model: Model, longest: int) -> None:
    """Raise ConfigError where the vectors of a kind and a text after them need more positions than a base has."""
    there = positions_of(shell)
    if kind.positions and there is not None and kind.positions + longest > there:
        problem = f"and texts of up to {longest} tokens need more than the {there} positions of {model.name}"
        key = f"recipe.{kind.name}.num_virtual_tokens"
        raise ConfigError(key, kind.positions, problem, "lower it, or max_length (the recipe's, or a task's own)")


def _refused(kind: PeftKind, model: Model, reason: str) -> ConfigError:
    return ConfigError("recipe.kind", kind.name, f"{model.name} cannot be tuned so: {reason}", kind.fix)


def _wrapped(base: PreTrainedModel, kind: PeftKind) -> PeftModel:
    """A skeleton of the base with PEFT's modules of this kind, their own numbers not yet of use."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        wrapped = get_peft_model(skeleton(base), kind.config(base))
    assert isinstance(wrapped, PeftModel)
    wrapped.eval()
    if base.device.type == "cuda" and has_prompt(runs(wrapped)):  # else they go there, and are waited for, in each pass
        wrapped.prompt_tokens = {name: numbers.to(base.device) for name, numbers in wrapped.prompt_tokens.items()}
    return wrapped


def _draw(member: tuple[str, int], name: str) -> torch.Generator:
    adapter_id, seed = member
    return torch.Generator().manual_seed(int(digest({"init": adapter_id, "seed": seed, "name": name}), 16))
