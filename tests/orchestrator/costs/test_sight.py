"""What a planned study is told that it will see."""

from __future__ import annotations

import re

from orchestrator.costs.sight import DISCORDANCE, SEED_SD, seen
from study.config import StudyConfig
from study.power import Plan, power, smallest_harm

MODELS = ({"id": "m"},)
TASKS = tuple({"name": name, "lm_eval": f"{name}_{{language}}"} for name in ("quiz", "sums"))


def config(*languages: str, seeds: tuple[int, ...] = (1, 2, 3), **keys: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {"models": MODELS, "tasks": TASKS, "languages": languages, "seeds": seeds, **keys}
    )


def test_the_numbers_are_those_of_the_power_of_its_cells() -> None:
    (line,) = seen(config("de", "en", "fr"), [400, 400, 100])
    assert "with 400 items per target and 3 seeds, one of the 30 cells of a model" in line
    found = re.search(r"must lose (\d+) to (\d+) points.*needs ([\d,]+) to ([\d,]+) items", line)
    assert found is not None
    low, high, few, many = (int(text.replace(",", "")) for text in found.groups())
    plans = [Plan(400, 3, share, seed_sd=SEED_SD, n_sources=6, n_cells=30) for share in DISCORDANCE]
    assert [low, high] == [round(-smallest_harm(plan)) for plan in plans]
    for items, share in zip((few, many), DISCORDANCE, strict=True):
        assert power(Plan(items, 3, share, seed_sd=SEED_SD, n_sources=6, n_cells=30), -5.0) >= 0.8


def test_one_seed_is_said_to_speak_of_its_adapters() -> None:
    lines = seen(config("de", "en", seeds=(1,)), [200])
    assert "one seed" in lines[0]
    assert "between seeds" not in lines[0]
    assert "not of what training on their sources does" in lines[1]


def test_a_trial_run_is_told_that_it_sees_next_to_nothing() -> None:
    (line,) = seen(config("de", "en", "fr"), [4])
    found = re.search(r"must lose (\d+)", line)
    assert "whatever it loses, not called worse" in line or (found is not None and int(found.group(1)) > 40)


def test_a_study_without_transfer_is_told_nothing() -> None:
    assert seen(config("de", sources=["quiz/de"], targets=["quiz/de"]), [100]) == []
    assert seen(config("de", "en"), []) == []
