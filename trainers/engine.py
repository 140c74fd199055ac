"""DeepSpeed behind three calls: enter a process group, open an engine over an adapter, read parameters it has spread.

Everything that must be set before DeepSpeed is imported, or kept quiet after, stands here; others import it from here.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")  # else it guesses, aloud

import deepspeed
import deepspeed.ops

from adapters import lora
from study.config import Recipe

# DeepSpeed calls functions that torch and transformers are renaming, on every step.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
warnings.filterwarnings("ignore", category=FutureWarning, message=".is_gradient_checkpointing.")
logging.getLogger("DeepSpeed").setLevel(logging.WARNING)

# DeepSpeed would compile a shared-memory operator for a minute, and need a compiler.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

LOST_AFTER = timedelta(minutes=10)  # a process that does not answer a collective for so long is taken for lost


def init_process_group(host: str, port: int, rank: int, size: int, device: torch.device) -> None:
    """Meet the other processes: NCCL between GPUs, gloo between CPUs. Blocks until all `size` are there."""
    os.environ.update(
        MASTER_ADDR=host, MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(device.index or 0)
    )
    backend = "nccl" if device.type == "cuda" else "gloo"
    deepspeed.init_distributed(dist_backend=backend, verbose=False, timeout=LOST_AFTER)


class Engine:
    """What the training loop needs of DeepSpeed: `forward` is the model, the rest are the steps of learning."""

    def __init__(self, engine: Any, parameters: dict[str, torch.nn.Parameter], world_size: int) -> None:
        self.forward, self._parameters, self._world_size = engine, parameters, world_size

    def set_learning_rate(self, rate: float) -> None:
        for group in self.forward.optimizer.param_groups:
            group["lr"] = rate

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this process's part of the step's loss; the parts of all processes add up."""
        self.forward.backward(loss * self._world_size)  # DeepSpeed averages gradients over processes

    def step(self) -> bool:
        """Clip, update the weights, forget the gradient. False where the gradient was NaN or infinite.

        DeepSpeed skips such a step; with float16 that is how it finds its loss scale, and no sign of divergence.
        """
        self.forward.step()
        return bool(self.forward.was_step_applied() or self.forward.fp16_enabled())

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the adapter's weights on the CPU under PEFT's names, put together where ZeRO 3 has spread them."""
        spread = [parameter for parameter in self._parameters.values() if hasattr(parameter, "ds_id")]
        with deepspeed.zero.GatheredParameters(spread, enabled=bool(spread)):
            return {name: parameter.detach().to("cpu", copy=True) for name, parameter in self._parameters.items()}


@contextmanager
def opened(
    base: torch.nn.Module, recipe: Recipe, settings: dict[str, Any], adapter_id: str, seed: int, world_size: int
) -> Iterator[Engine]:
    """An engine over a frozen base with a fresh adapter on it. Afterwards the base is bit for bit as it was."""
    peft_model = lora.attach(base, recipe.lora, adapter_id, seed)
    engine = None
    try:
        parameters = lora.parameters(peft_model)
        optimizer = torch.optim.AdamW(
            parameters.values(), recipe.learning_rate, (0.9, 0.999), 1e-8, recipe.weight_decay, fused=True
        )
        engine, *_ = deepspeed.initialize(
            model=peft_model, model_parameters=list(parameters.values()), optimizer=optimizer, config=settings
        )
        yield Engine(engine, parameters, world_size)
    finally:
        if engine is not None:
            engine.destroy()
        lora.detach(peft_model)
        del engine, peft_model
        gc.collect()  # engine and model refer to each other: without it their device memory would linger
