"""Devices: what a worker or an evaluator holds, what of it computes, and how fast a device is by its data sheet.

A device is a GPU where GPUs are asked for, else a core. Device seconds are those of what is held, whether it computes
or not; a process computes on one GPU at most, or on all its cores.
"""

from __future__ import annotations

from collections.abc import Mapping

from study.config import StudyConfig
from study.config.fields import on_gpu
from study.errors import ConfigError
from study.flops import PEAK_FLOPS
from study.models.resolve import Model

START_S, BYTES_PER_S = 10.0, 1e9  # to import the libraries, and to load weights: assumed
TRAIN, SCORE = "train", "score"
CPU, CUDA = "cpu", "cuda"


def kind(resources: Mapping[str, float]) -> str:
    """Whether models run on CPUs or on GPUs, as torch calls them."""
    return CUDA if on_gpu(resources) else CPU


def kind_of_device(device: str) -> str:
    """Whether a device is a CPU or a GPU, by what records (a GPU's name) or scores (cuda:0) call it."""
    return CPU if device.startswith(CPU) else CUDA


def held(resources: Mapping[str, float]) -> float:
    """Devices that a process holds."""
    return resources.get("GPU") or resources.get("CPU") or 1.0


def used(resources: Mapping[str, float]) -> float:
    """Devices that a process computes on."""
    return min(1.0, held(resources)) if on_gpu(resources) else held(resources)


def load_s(model: Model) -> float:
    """Seconds in which a trainer or an evaluator loads a model, before that was seen."""
    return START_S + model.params * (4 if model.dtype == "float32" else 2) / BYTES_PER_S


def stages(config: StudyConfig) -> dict[str, Mapping[str, float]]:
    """What a process of each stage holds."""
    return {TRAIN: config.training.resources_per_worker, SCORE: config.evaluators.resources}


def of_actors(config: StudyConfig) -> dict[str, float]:
    """Devices that a trial, all its workers together, and an evaluator hold."""
    each = {stage: held(resources) for stage, resources in stages(config).items()}
    return {**each, TRAIN: each[TRAIN] * config.training.workers_per_trial}


def assumed(config: StudyConfig, asked: str | None) -> dict[str, str]:
    """What each stage is taken to run on where nothing is measured: keys of PEAK_FLOPS. Raises ConfigError.

    It is the device asked for, else an H100; but a stage on CPUs beside one on GPUs is on CPUs whatever is asked for.
    """
    if asked is not None and asked not in PEAK_FLOPS:
        raise ConfigError("--device", asked, "its speed is not known", f"use one of {', '.join(PEAK_FLOPS)}")
    kinds = {stage: kind(resources) for stage, resources in stages(config).items()}
    on_cpu = "CPU" if CUDA in kinds.values() else asked or "CPU"
    return {stage: asked or "H100" if found == CUDA else on_cpu for stage, found in kinds.items()}
