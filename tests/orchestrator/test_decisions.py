"""Decisions of the orchestrator as functions of values: what fits on the cluster, and what is tried again."""

from __future__ import annotations

import errno

import pytest
import ray
import torch
from huggingface_hub import errors as hub

from orchestrator.cluster.nodes import check_fits
from orchestrator.failures import backoff_s, budget, kind_of
from orchestrator.scheduling.decide import fits
from study.config import Failures
from study.config.file import parse
from study.errors import ConfigError, TaskError


def test_fractions_of_a_device_add_up() -> None:
    assert fits({"GPU": 1}, {}, {"GPU": 0.1}) == 10


def test_what_can_never_fit_is_said_at_once() -> None:
    config = parse("models: [{id: a}]\nlanguages: [en]\ntasks: [{name: t, lm_eval: 't_{language}'}]")
    with pytest.raises(ConfigError, match=r"training\.resources_per_worker.*GPU: 0"):
        check_fits(config, {"CPU": 2})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ray.exceptions.OutOfMemoryError("killed by the memory monitor"), "killed_for_memory"),
        (ray.exceptions.RayActorError(), "node_lost"),
        (ray.exceptions.WorkerCrashedError(), "node_lost"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (OSError(errno.ECONNRESET, "reset"), "transient"),
        (TimeoutError("timed out"), "transient"),
        (hub.InferenceTimeoutError("slow hub"), "transient"),
        (FileNotFoundError("gone"), "bug"),
        (TaskError("no such column"), "bad_data"),
        (ZeroDivisionError(), "bug"),
    ],
)
def test_kinds_of_real_exceptions(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
    wrapped = ray.exceptions.RayTaskError("f", "traceback", error)
    assert kind_of(wrapped) == kind


def test_only_what_can_pass_is_tried_again() -> None:
    failures = Failures()
    again = {k: budget(k, failures) for k in ("node_lost", "out_of_memory", "transient", "nan", "bad_data", "bug")}
    assert again == {"node_lost": 20, "out_of_memory": 4, "transient": 5, "nan": 0, "bad_data": 0, "bug": 0}
    assert [backoff_s(n) for n in (1, 2, 3, 10)] == [1, 2, 4, 60]
