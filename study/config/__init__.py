"""The study's configuration: its keys. Reading a file is `study.config.file`."""

from study.config.composition import CompositionConfig
from study.config.distinct import reject_duplicates
from study.config.fields import Frozen
from study.config.keys import (
    Evaluators,
    ExistingAdapter,
    Failures,
    ModelConfig,
    StudyConfig,
    Training,
)
from study.config.recipe import KeepNearBase, LossOn, Mixing, Recipe, Scoring, Truncation, Validation
from study.config.task import TaskConfig
from study.config.train import TrainOverride
from study.config.tuning import Ia3, Lora, PrefixTuning, PromptTuning

__all__ = [
    "CompositionConfig",
    "Evaluators",
    "ExistingAdapter",
    "Failures",
    "Frozen",
    "Ia3",
    "KeepNearBase",
    "Lora",
    "LossOn",
    "Mixing",
    "ModelConfig",
    "PrefixTuning",
    "PromptTuning",
    "Recipe",
    "Scoring",
    "StudyConfig",
    "TaskConfig",
    "TrainOverride",
    "Training",
    "Truncation",
    "Validation",
    "reject_duplicates",
]
