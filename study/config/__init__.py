"""The study's configuration: its keys. Reading a file is `study.config.file`."""

from study.config.keys import (
    Evaluators,
    ExistingAdapter,
    Failures,
    Frozen,
    Lora,
    LossOn,
    ModelConfig,
    Recipe,
    Scoring,
    StudyConfig,
    TaskConfig,
    Training,
    TrainOverride,
    Validation,
    reject_duplicates,
)

__all__ = [
    "Evaluators",
    "ExistingAdapter",
    "Failures",
    "Frozen",
    "Lora",
    "LossOn",
    "ModelConfig",
    "Recipe",
    "Scoring",
    "StudyConfig",
    "TaskConfig",
    "TrainOverride",
    "Training",
    "Validation",
    "reject_duplicates",
]
