"""What may be asked of DeepSpeed, and the schedules."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from study.config import Recipe, Training
from study.errors import ConfigError
from trainers.deepspeed_keys import KEYS, OFFLOAD_KEYS, ZERO_KEYS
from trainers.learning_rates import learning_rates
from trainers.settings import check, engine_config, pass_tokens


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"train_batch_size": 8}, "train_batch_size"),
        ({"gradient_clipping": 1.0}, "gradient_clipping"),
        ({"bf16": {"enabled": True}}, "bf16"),
        ({"optimizer": {"type": "AdamW"}}, "optimizer"),
        ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage"),
        ({"zero_optimization": 2}, "zero_optimization"),
        ({"zero_force_ds_cpu_optimizer": True}, "zero_force_ds_cpu_optimizer"),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme"}}},
            "zero_optimization.offload_optimizer.device",
        ),
        ({"zero_optimisation": {"stage": 2}}, "zero_optimisation"),
        ({"amp": {"enabled": True}}, "amp"),  # of an older release, which DeepSpeed refuses as it starts
        ({"zero_optimization": {"stage": 2, "offload_optimiser": {}}}, "zero_optimization.offload_optimiser"),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"devise": "cpu"}}},
            "zero_optimization.offload_optimizer.devise",
        ),
    ],
)
def test_keys_that_are_decided_elsewhere_are_named(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        engine_config(Training(deepspeed=settings), "float32")
    assert caught.value.key == f"training.deepspeed.{key}"
    assert caught.value.fix


def test_a_misspelt_key_is_told_the_right_one() -> None:
    with pytest.raises(ConfigError, match="write zero_optimization"):
        check(Training(deepspeed={"zero_optimisation": {"stage": 2}}))


class Asked(dict[str, Any]):
    """A configuration that knows for which keys it was asked."""

    keys_: ClassVar[set[str]] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.keys_.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.keys_.add(str(key))
        return super().__contains__(key)

    def keys(self) -> Any:  # a dict's own would answer `in` without being seen
        return self


@pytest.mark.processes  # DeepSpeed is loaded
def test_the_keys_are_those_of_the_installed_deepspeed() -> None:
    from deepspeed.runtime import config
    from deepspeed.runtime.zero import offload_config
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    config.DeepSpeedConfig(Asked({"train_micro_batch_size_per_gpu": 1}))
    asked = Asked.keys_ - {"sequence_parallel_size"}  # only where there are several processes
    assert asked - config._REMOVED_TOP_LEVEL_CONFIG_KEYS.keys() == KEYS
    assert fields(DeepSpeedZeroConfig) == ZERO_KEYS
    assert fields(offload_config.DeepSpeedZeroOffloadParamConfig) == OFFLOAD_KEYS["offload_param"]
    assert fields(offload_config.DeepSpeedZeroOffloadOptimizerConfig) == OFFLOAD_KEYS["offload_optimizer"]


def fields(model: Any) -> set[str]:
    return {name for field, about in model.model_fields.items() for name in (field, about.alias) if name}


def test_the_users_settings_are_kept_and_the_models_added() -> None:
    asked = {"zero_optimization": {"stage": 1, "reduce_bucket_size": 1000}, "wall_clock_breakdown": False}
    settings = engine_config(Training(deepspeed=asked), "bfloat16")
    assert settings["zero_optimization"] == asked["zero_optimization"]
    assert settings["bf16"] == {"enabled": True, "check_grad_overflow": False}


@pytest.mark.parametrize(
    ("zero", "dtype", "is_left_out"),
    [
        ({}, "bfloat16", True),
        ({"offload_optimizer": None, "cpu_offload": False}, "float32", True),
        ({}, "float16", False),
        ({"offload_optimizer": {"device": "cpu"}}, "float32", False),
        ({"cpu_offload": True}, "float32", False),
        ({"zenflow": {"topk_ratio": 0.1}}, "bfloat16", False),
        ({"zenflow": {}}, "bfloat16", False),
    ],
)
def test_norms_are_left_out_where_deepspeed_lets_them(zero: dict[str, Any], dtype: str, is_left_out: bool) -> None:
    found = engine_config(Training(deepspeed={"zero_optimization": {"stage": 2, **zero}}), dtype)["zero_optimization"]
    assert found == {"stage": 2, **zero, **({"compute_grad_norm": False} if is_left_out else {})}


def test_a_pass_has_what_is_asked_for_or_what_fills_what_a_process_has() -> None:
    half = Training(resources_per_worker={"GPU": 0.5})
    assert [pass_tokens(half, device) for device in ("cuda", "cpu")] == [8192, 1024]
    assert pass_tokens(Training(resources_per_worker={"GPU": 2}), "cuda") == 16384
    assert pass_tokens(Training(resources_per_worker={"CPU": 1}, micro_batch_tokens=300), "cpu") == 300


def test_schedules() -> None:
    linear = learning_rates(Recipe(learning_rate=1.0, warmup_ratio=0.2, schedule="linear"), 10)
    assert linear == pytest.approx([0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    constant = learning_rates(Recipe(learning_rate=1.0, warmup_ratio=0.2, schedule="constant"), 10)
    assert constant == pytest.approx([0, 0.5] + [1] * 8)
    cosine = learning_rates(Recipe(learning_rate=1.0, warmup_ratio=0.0, schedule="cosine"), 4)
    assert cosine == pytest.approx([1, 0.853553, 0.5, 0.146447], rel=1e-5)
