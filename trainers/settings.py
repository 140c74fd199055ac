"""How a trial runs: what fills a forward pass, and the DeepSpeed configuration.

The latter is what the user asks for, merged with what the recipe decides. Pure, and free of torch, so that a plan can
ask, and a wrong setting is found before any process is started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.config import Recipe, Training
from study.config.fields import on_gpu, share_of_gpu
from study.errors import ConfigError
from trainers.deepspeed_keys import check_keys

FULL_PASS = {"cpu": 2048, "cuda": 16384}  # padded tokens of a forward pass from which on more are hardly faster
PASS_WORTH = {"cpu": 128, "cuda": 2048}  # padded tokens that cost about as much as one more forward pass

_DECIDED = {
    "train_batch_size": "set recipe.batch_size",
    "train_micro_batch_size_per_gpu": "set training.micro_batch_size",
    "gradient_accumulation_steps": "set training.micro_batch_size; the rest of the batch is accumulated",
    "managed_gradient_accumulation": "leave it out; the trainer accumulates",
    "gradient_clipping": "set recipe.max_grad_norm",
    "optimizer": "leave it out; it is AdamW with recipe.learning_rate and recipe.weight_decay",
    "scheduler": "set recipe.schedule and recipe.warmup_ratio",
    "bf16": "set the model's dtype",
    "bfloat16": "set the model's dtype",
    "fp16": "set the model's dtype",
    "torch_autocast": "set the model's dtype",
    "zero_force_ds_cpu_optimizer": "leave it out; the trainer's own AdamW also serves offloading, without a compiler",
    "prescale_gradients": "leave it out; the loss is already a mean over the whole batch",
    "gradient_predivide_factor": "leave it out; the loss is already a mean over the whole batch",
}
STAGES = (0, 1, 2, 3)
_WITH_NORM = ("offload_optimizer", "cpu_offload", "zenflow")  # of ZeRO 2: DeepSpeed refuses them without norms


def device_of(training: Training) -> str:
    """Whether models are trained on CPUs or on GPUs, as torch calls them."""
    return "cuda" if on_gpu(training.resources_per_worker) else "cpu"


def full_pass(training: Training, device: str) -> int:
    """The padded tokens that fill a forward pass of a process, on what it has of such a device."""
    return int(FULL_PASS[device] * share_of_gpu(training.resources_per_worker))


def pass_tokens(training: Training, device: str) -> int:
    """The most padded tokens of a forward pass of a process: as many as `training` sets, or as fill one."""
    tokens = training.micro_batch_tokens
    return full_pass(training, device) if tokens == "auto" else tokens


def rows_per_process(recipe: Recipe, gang: int, processes: int) -> int:
    """Rows of an optimiser step of a gang that each process gets."""
    return -(-recipe.batch_size * gang // processes)


def zero_stage(training: Training) -> int:
    """The ZeRO stage asked for; DeepSpeed's default is 0. Raises ConfigError when it is none of 0 to 3."""
    zero = training.deepspeed.get("zero_optimization", {})
    if not isinstance(zero, dict):
        raise ConfigError("training.deepspeed.zero_optimization", zero, "is not a mapping", "write {stage: 2}")
    stage = zero.get("stage", 0)
    if isinstance(stage, bool) or stage not in STAGES:
        raise ConfigError("training.deepspeed.zero_optimization.stage", stage, "is no ZeRO stage", "use 0, 1, 2 or 3")
    offload = zero.get("offload_optimizer")
    if isinstance(offload, dict) and offload.get("device") == "nvme":
        raise ConfigError(
            "training.deepspeed.zero_optimization.offload_optimizer.device",
            "nvme",
            "the trainer's AdamW cannot reach moments on a disk",
            "use cpu; offload_param may go to nvme",
        )
    return int(stage)


def check(training: Training) -> None:
    """Raise ConfigError for a DeepSpeed key that the recipe or the trainer decides, or that DeepSpeed does not know."""
    for key, value in training.deepspeed.items():
        if key in _DECIDED:
            raise ConfigError(f"training.deepspeed.{key}", value, "is decided elsewhere in the config", _DECIDED[key])
    check_keys(training.deepspeed)
    zero_stage(training)


def engine_config(training: Training, dtype: str) -> dict[str, object]:
    """The dict for `deepspeed.initialize`. `dtype` is the base model's, as torch names it. Raises ConfigError.

    The trainer hands in each step's gradient as a whole: it scales the loss itself and calls `step()` once per step
    (`managed_gradient_accumulation` off), so that DeepSpeed's batch arithmetic decides nothing. Clipping is per adapter
    and so the optimiser's business.
    """
    check(training)
    settings: dict[str, object] = {
        "steps_per_print": 10**9,
        **training.deepspeed,
        "zero_force_ds_cpu_optimizer": False,  # the gang's own AdamW is used with offload too: a LoRA's state is small
        "zero_allow_untested_optimizer": True,
        "train_micro_batch_size_per_gpu": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": 0.0,
    }
    zero = dict(training.deepspeed.get("zero_optimization", {}))
    needs_norm = dtype == "float16" or any(zero.get(key) not in (None, False) for key in _WITH_NORM)
    if zero_stage(training) == 2 and not needs_norm:
        settings["zero_optimization"] = {"compute_grad_norm": False, **zero}  # it would be waited for, and used nowhere
    if dtype == "bfloat16":
        settings["bf16"] = {"enabled": True, "check_grad_overflow": False}  # what is not finite does not get there
    elif dtype == "float16":
        settings["fp16"] = {"enabled": True}
    return settings


def sized(settings: Mapping[str, object], parts: Sequence[int]) -> dict[str, object]:
    """Settings of an engine for a sheet whose parts have so many numbers, by what is not asked for otherwise.

    DeepSpeed's default buffer for gradients takes 2 GB in float32. Of a sheet of several parts, the weights of a model,
    ZeRO 3 keeps none after it was computed with, not even the billion numbers of its default, and the optimiser, which
    clips all by one norm, takes them in one step and in their order.
    """
    asked = settings.get("zero_optimization", {})
    assert isinstance(asked, Mapping)  # `zero_stage` has looked
    sizes: dict[str, object] = {"reduce_bucket_size": max(parts)}
    fixed: dict[str, object] = {}
    if len(parts) > 1:
        sizes.update(stage3_max_live_parameters=max(parts), stage3_max_reuse_distance=0)
        fixed.update(sub_group_size=sum(parts), round_robin_gradients=False)
    unasked = {key: size for key, size in sizes.items() if key.removeprefix("stage3_") not in asked}
    return {**settings, "zero_optimization": {**unasked, **asked, **fixed}}
