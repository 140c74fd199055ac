"""The forward pass: rows in, log-likelihoods out.

Rows are sorted by length and cut into batches of a token budget, longest first, so that an out-of-memory shows at
once; on one the budget halves and the batch is cut again, so no row is lost. Where a model turns its positions by the
longest of a batch, rows on both sides of that length are in no batch together. The LM head runs on scored nodes only.
Log-softmax is float32 whatever the model's precision.

Shapes: B rows, L nodes of the longest row, U distinct scored nodes of the batch, S scored tokens of it, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from adapters.bank.bank import Banks, LoraBank
from adapters.base.device import empty_cache, room, uploaded
from adapters.base.positions import turn_of
from adapters.base.probe import has_prompt
from adapters.folders.folder import UnsupportedAdapter
from adapters.splitting.split import devices_of
from evaluators.forward.masks import Masks
from evaluators.forward.profile import Profile, forward_flops
from evaluators.forward.rows import Row
from study.faults.device import breaks_process, is_out_of_memory
from study.pulse import beat

CPU_BYTES = 2**25  # activations of a batch stay in a processor's last cache
CPU_TOKENS = (256, 8192)  # fewer do not fill a matrix product, more gain nothing
CUDA_TOKENS = 32768  # upper limit; enough to fill any one GPU
HEAD_ELEMENTS = {"cpu": 2**26, "cuda": 2**29}  # logits of one batch, as float32: 256 MiB and 2 GiB


class Engine:
    """Scores rows on one causal LM. Keeps the token budget that the device has shown it can hold."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokens_per_batch: int | None = None,
        profile: Profile | None = None,
        attention: str | None = None,
    ) -> None:
        self.model, self._attention = model, attention
        self.devices = devices_of(model)
        self.device = self.devices[0]
        self.bank: LoraBank | Banks | None = None
        self.profile = profile
        self.budget = tokens_per_batch or automatic_budget(model)
        config = model.config.get_text_config()
        self.turn = turn_of(model.config)
        self._head_limit = HEAD_ELEMENTS["cuda" if self.device.type == "cuda" else "cpu"] // config.vocab_size
        self._masks = Masks(model, attention)
        self._flops = forward_flops(model)

    @contextmanager
    def running(self, model: PreTrainedModel) -> Iterator[None]:
        """Within, another model over the same weights is run."""
        before = self.model, self._masks
        self.model, self._masks = model, Masks(model, self._attention)
        try:
            yield
        finally:
            self.model, self._masks = before

    def loglikelihoods(self, rows: Sequence[Row], n_requests: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Log-likelihood (nats) and whether greedy decoding would write it, per request number.

        `n_requests` bounds the rows' owner numbers. Raises torch.OutOfMemoryError when one row alone does not fit.
        """
        logprobs: list[torch.Tensor] = []
        greedy: list[torch.Tensor] = []
        owners: list[NDArray[np.int32]] = []
        if not rows:
            return np.zeros(n_requests), np.ones(n_requests, dtype=np.bool_)
        waiting = sorted(rows, key=lambda row: (self._is_far(row), len(row)), reverse=True)
        start = 0
        while start < len(waiting):
            batch = sorted(waiting[start : start + self._fitting(waiting, start)], key=_slot)
            found = self._tried(batch)
            if found is None:
                self.budget = len(batch) * len(waiting[start]) // 2
                empty_cache()
                continue
            if self.profile is not None:
                body, head = self._flops
                tokens, scored = sum(map(len, batch)), sum(len(np.unique(row.at_S)) for row in batch)
                self.profile.count(tokens, len(batch) * len(waiting[start]), body * tokens + head * scored)
            beat()
            logprobs.append(found[0])
            greedy.append(found[1])
            owners.extend(row.owner_S for row in batch)
            start += len(batch)
        owner_S = np.concatenate(owners)
        logprob_S, greedy_S = torch.stack([torch.cat(logprobs), torch.cat(greedy).float()]).cpu().numpy()
        total = np.bincount(owner_S, weights=logprob_S, minlength=n_requests)
        misses = np.bincount(owner_S, weights=1 - greedy_S, minlength=n_requests)
        return total.astype(np.float64, copy=False), misses == 0

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Book the time spent within on a stage of the profile, if there is one."""
        return nullcontext() if self.profile is None else self.profile.stage(name)

    def traced(self) -> AbstractContextManager[None]:
        """Let the profile, if there is one, trace what runs within."""
        return nullcontext() if self.profile is None else self.profile.traced()

    def rows_of(self, slots: Sequence[int | None]) -> AbstractContextManager[None]:
        """Within, row i of a batch is read with the adapter in slot `slots[i]` of the bank, where there is a bank."""
        return nullcontext() if self.bank is None else self.bank.rows(slots)

    def _is_far(self, row: Row) -> bool:
        return self.turn is not None and row.reach > self.turn

    def _fitting(self, rows: Sequence[Row], start: int) -> int:
        """How many rows from `start` on make one batch; at least one."""
        length, scored = len(rows[start]), len(rows[start].at_S)
        count, far = 1, self._is_far(rows[start])
        for row in rows[start + 1 : start + max(1, self.budget // length)]:
            scored += len(row.at_S)
            if scored > self._head_limit or self._is_far(row) != far:
                break
            count += 1
        return count

    def _tried(self, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What the model says of a batch; None where memory does not hold it, by when nothing of it is held."""
        try:
            with self.stage("forward"):
                return self._run(batch)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
            return None

    def _run(self, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """What `_forward` gives; with dense masks where it fails with block masks, which are left if it then runs."""
        try:
            return self._forward(batch)
        except Exception as error:
            is_other = isinstance(error, UnsupportedAdapter) or is_out_of_memory(error) or breaks_process(error)
            if is_other or not self._takes_blocks(batch):
                raise
            reason = f"{type(error).__name__}: {error}"
        empty_cache()  # only here does the error let go of what the failed pass held
        with self._masks.dense():
            found = self._forward(batch)
        self._masks.leave_flex(reason)
        return found

    def _takes_blocks(self, batch: Sequence[Row]) -> bool:
        return self._masks.flexes(max(map(len, batch))) and not all(row.is_chain for row in batch)

    @torch.inference_mode()
    def _forward(self, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(len(row) for row in batch)
        branches = not all(row.is_chain for row in batch)
        length = self._masks.padded(longest) if branches else longest
        tokens_BL = self._padded([row.tokens_N for row in batch], length)
        at_S = np.concatenate([row.at_S.astype(np.int64) + b * length for b, row in enumerate(batch)])
        at_U, where_S = np.unique(at_S, return_inverse=True)
        want_S = np.concatenate([row.want_S for row in batch]).astype(np.int64)
        arguments: dict[str, object] = {"input_ids": tokens_BL, "use_cache": has_prompt(self.model)}
        if branches:
            depth_BL = self._padded([row.depth_N for row in batch], length)
            arguments["position_ids"] = depth_BL
            arguments["attention_mask"] = self._masks.of(self._padded([row.end_N for row in batch], length), depth_BL)
        slots = [row.slot for row in batch]
        with self._masks.attention(length) if branches else nullcontext():
            logits_UV = self._logits(arguments, tokens_BL.shape, torch.from_numpy(at_U), slots)
        logprobs_UV = torch.log_softmax(logits_UV, dim=-1, dtype=torch.float32)
        index_S, want = (uploaded(torch.from_numpy(own_S), logprobs_UV.device) for own_S in (where_S, want_S))
        logprob_S = logprobs_UV[index_S, want]
        return logprob_S, logprob_S >= logprobs_UV.amax(dim=-1)[index_S]

    def _logits(
        self, arguments: dict[str, object], shape: torch.Size, at_U: torch.Tensor, slots: Sequence[int | None]
    ) -> torch.Tensor:
        """Logits of the given nodes, numbered through a batch of this shape [B, L]: [U, V].

        The model calls its own head, so what follows it there (soft caps, scaling) is applied. They lie where the head
        does. What an adapter puts before each row comes first in what is computed, and is passed over.
        """
        rows, length = shape

        def nodes(values: torch.Tensor) -> torch.Tensor:
            own_BLX = values.reshape(rows, -1, values.shape[-1])[:, -length:]
            return own_BLX.reshape(-1, values.shape[-1])[uploaded(at_U, values.device)]

        def keep(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (nodes(inputs[0])[None],)

        head: torch.nn.Module | None = self.model.get_output_embeddings()
        hook = head.register_forward_pre_hook(keep) if head is not None else None
        try:
            with self.rows_of(slots), nullcontext() if self.profile is None else self.profile.head(head):
                logits: torch.Tensor = self.model(**arguments).logits
        finally:
            if hook is not None:
                hook.remove()
        if logits.shape[:2] == (1, len(at_U)):
            return logits[0]
        return nodes(logits)  # a model that does not call its head as a module

    def _padded(self, values: Sequence[NDArray[np.int32]], length: int) -> torch.Tensor:
        padded = np.zeros((len(values), length), dtype=np.int64)
        for row, value in zip(padded, values, strict=True):
            row[: len(value)] = value
        return uploaded(torch.from_numpy(padded), self.device)


def automatic_budget(model: PreTrainedModel) -> int:
    """Tokens per batch: what the cache likes on a CPU; on a GPU what fits in a third of what is free of its share.

    That is on the fullest, where a base is split. A token's activations are taken as three intermediate and sixteen
    hidden vectors.
    """
    token_bytes = _width(model) * model.dtype.itemsize
    if model.device.type != "cuda":
        return int(min(CPU_TOKENS[1], max(CPU_TOKENS[0], CPU_BYTES / token_bytes)))
    return int(min(CUDA_TOKENS, max(1024, min(map(room, devices_of(model))) / 3 / token_bytes)))


def _width(model: PreTrainedModel) -> int:
    """Numbers of a token's activations. The intermediate size may be told layer by layer, or not at all."""
    config = model.config.get_text_config()
    embedding = cast(torch.nn.Embedding, model.get_input_embeddings())
    hidden = int(getattr(config, "hidden_size", embedding.weight.shape[-1]))
    said = getattr(config, "intermediate_size", None)
    sizes = [size for size in (said if isinstance(said, list | tuple) else (said,)) if isinstance(size, int)]
    return 3 * max(sizes, default=4 * hidden) + 16 * hidden


def _slot(row: Row) -> int:
    """Rows of one adapter stand together in a batch: their low-rank products are fewer and larger."""
    return -1 if row.slot is None else row.slot
