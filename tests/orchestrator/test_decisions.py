"""Decisions of the orchestrator as functions of values: who gets how much of the cluster, and what is tried again."""

from __future__ import annotations

import errno

import pytest
import ray
import torch
from huggingface_hub import errors as hub
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster import check_fits, fits, share
from orchestrator.failures import backoff_s, budget, kind_of
from orchestrator.pool import actors_wanted
from orchestrator.progress import Counts, Progress
from study.config import Failures
from study.errors import ConfigError
from study.load import parse
from study.tasks import TaskError

work = st.dictionaries(st.sampled_from("abc"), st.integers(0, 20))


@pytest.mark.parametrize(
    ("total", "trials_left", "expected"),
    [
        ({"CPU": 2}, 44, (1, 1)),  # both fit: one each
        ({"CPU": 2}, 0, (0, 2)),  # training is over: all for scoring
        ({"CPU": 1}, 3, (1, 0)),  # only one fits: train first
        ({"CPU": 1}, 0, (0, 1)),
        ({"CPU": 8}, 44, (7, 1)),
        ({"CPU": 8}, 3, (3, 5)),
    ],
)
def test_share_of_the_cluster(total: dict[str, float], trials_left: int, expected: tuple[int, int]) -> None:
    assert share(total, {"CPU": 1}, {"CPU": 1}, trials_left) == expected


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 4), st.integers(0, 200))
def test_share_never_promises_more_than_there_is(gpus: int, per_trial: int, per_evaluator: int, left: int) -> None:
    trials, evaluators = share({"GPU": gpus}, {"GPU": per_trial}, {"GPU": per_evaluator}, left)
    assert trials * per_trial + evaluators * per_evaluator <= gpus
    assert trials <= left
    if left and gpus >= per_trial:
        assert trials >= 1


def test_fractions_of_a_device_add_up() -> None:
    assert fits({"GPU": 1}, {}, {"GPU": 0.1}) == 10


def test_what_can_never_fit_is_said_at_once() -> None:
    config = parse("models: [{id: a}]\nlanguages: [en]\ntasks: [{name: t, lm_eval: 't_{language}'}]")
    with pytest.raises(ConfigError, match=r"training\.resources_per_worker.*GPU: 0"):
        check_fits(config, {"CPU": 2})


@given(work, work, st.integers(0, 16), st.integers(0, 3), st.none() | st.integers(1, 8))
def test_actors_follow_the_work_and_stay_within_the_room(
    waiting: dict[str, int], busy: dict[str, int], room: int, least: int, most: int | None
) -> None:
    wanted = actors_wanted(waiting, busy, room, least, most)
    assert sum(wanted.values()) <= room
    assert all(count <= waiting.get(model, 0) + busy.get(model, 0) for model, count in wanted.items())
    total = sum(waiting.values()) + sum(busy.values())
    if most is None:
        assert sum(wanted.values()) == min(room, total)


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


def test_progress_counts_what_is_left_and_knows_no_eta_before_there_is_a_rate() -> None:
    progress = Progress(Counts(total=10, before=2), Counts(total=100))
    assert progress.eta_s() is None
    progress.adapters.done, progress.scores.done, progress.scores.failed = 4, 45, 5
    assert (progress.adapters.left, progress.scores.left) == (4, 50)
    progress.started -= 90
    assert progress.eta_s() == pytest.approx(100, rel=0.05)
    assert "adapters 6/10 · scores 45/100 · failed 5" in progress.line()
