"""Parts of GPUs that no process can have are refused before anything starts."""

from __future__ import annotations

import pytest

from evaluators.evaluator import Settings
from study.config.file import parse
from study.errors import ConfigError
from tests.orchestrator.planning.test_plan import TEXT


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("training={workers_per_trial: 2, resources_per_worker: {GPU: 0.5}}", "cannot share one"),
        ("training={resources_per_worker: {GPU: 1.5}}", "no whole number of GPUs"),
        ("evaluators={resources: {CPU: 2, GPU: 1.5}}", "no whole number of GPUs"),
    ],
)
def test_they_are_refused_in_a_line(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(TEXT, [override])


def test_a_part_of_one_is_taken() -> None:
    taken = parse(TEXT, ["training={resources_per_worker: {GPU: 0.5}}", "evaluators={resources: {GPU: 0.25}}"])
    assert taken.training.resources_per_worker == {"GPU": 0.5}
    assert taken.evaluators.gpus == 1


@pytest.mark.parametrize(("resources", "gpus"), [("{GPU: 4}", 4), ("{GPU: 1}", 1), ("{CPU: 8}", 1)])
def test_an_evaluator_splits_its_base_over_all_that_it_has(resources: str, gpus: int) -> None:
    assert Settings.of(parse(TEXT, [f"evaluators={{resources: {resources}}}"])).gpus == gpus
