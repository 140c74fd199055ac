"""The keys that DeepSpeed's configuration has, so that a misspelt one is found while a study is planned.

DeepSpeed itself passes over what it does not know on the first level, and importing it takes seconds. A test holds
these against the installed version.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from study.errors import ConfigError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEYS = _words(
    """
    activation_checkpointing aio autotuning bf16 bfloat16 checkpoint comet comms_logger communication_data_type
    compile csv_monitor data_efficiency data_types dataloader_drop_last datastates_ckpt disable_allgather
    disable_python_gc dump_state expert_parallel flops_profiler fp16 gradient_accumulation_steps
    gradient_allreduce_op gradient_clipping gradient_predivide_factor hybrid_engine log_level
    managed_gradient_accumulation memory_breakdown optimizer pipeline prescale_gradients scheduler
    seq_parallel_communication_data_type steps_per_print tensor_parallel tensorboard timers torch_autocast
    train_batch_size train_micro_batch_size_per_gpu use_data_before_expert_parallelism vocabulary_size
    wall_clock_breakdown wandb weight_quantization zero_allow_untested_optimizer zero_force_ds_cpu_optimizer
    zero_optimization
    """
)
ZERO_KEYS = _words(
    """
    allgather_bucket_size allgather_partitions allgather_sequential compute_grad_norm contiguous_gradients
    cpu_offload cpu_offload_param cpu_offload_use_pin_memory elastic_checkpoint enable_sanity_checks
    gather_16bit_weights_on_model_save ignore_unused_parameters leaf_module legacy_stage1 load_from_fp32_weights
    log_trace_cache_warnings max_live_parameters max_reuse_distance memory_efficient_linear
    model_persistence_threshold module_granularity_threshold offload_optimizer offload_param overlap_comm
    override_module_apply param_persistence_threshold parameter_alignment pipeline_loading_checkpoint
    prefetch_bucket_size reduce_bucket_size reduce_scatter round_robin_gradients save_muon_momentum_buffer_in_memory
    stage stage3_allgather_sequential stage3_gather_16bit_weights_on_model_save
    stage3_gather_fp16_weights_on_model_save stage3_max_live_parameters stage3_max_reuse_distance
    stage3_model_persistence_threshold stage3_module_granularity_threshold stage3_param_persistence_threshold
    stage3_prefetch_bucket_size stage3_use_all_reduce_for_fetch_params sub_group_size
    use_all_reduce_for_fetch_params use_multi_rank_bucket_allreduce zenflow zero_hpz_partition_size
    zero_quantized_gradients zero_quantized_nontrainable_weights zero_quantized_weights
    """
)
OFFLOAD_KEYS = {
    "offload_param": _words("device nvme_path buffer_count buffer_size max_in_cpu pin_memory"),
    "offload_optimizer": _words(
        "device nvme_path buffer_count pin_memory pipeline_read pipeline_write fast_init ratio super_offload "
        "cpuadam_cores_perc"
    ),
}
_ZERO = "zero_optimization"


def check_keys(settings: dict[str, object]) -> None:
    """Raise ConfigError for a key of `training.deepspeed` that DeepSpeed does not have."""
    _check(settings, KEYS, "training.deepspeed")
    zero = settings.get(_ZERO)
    if not isinstance(zero, dict):
        return
    _check(zero, ZERO_KEYS, f"training.deepspeed.{_ZERO}")
    for name, known in OFFLOAD_KEYS.items():
        if isinstance(part := zero.get(name), dict):
            _check(part, known, f"training.deepspeed.{_ZERO}.{name}")


def _check(settings: dict[str, object], known: Collection[str], where: str) -> None:
    for key, value in settings.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            fix = f"write {near[0]}" if near else "leave it out"
            raise ConfigError(f"{where}.{key}", value, "is no key that the installed DeepSpeed knows", fix)
