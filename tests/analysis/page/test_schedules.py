"""The chapter of sources of several cells: a sentence per comparison with its intervals, and no chapter without any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis.page import files, schedules
from analysis.tables.registry import TABLES, make_all
from study.cells import Cell
from tests.support.combined import World, normal_effects, study_of

JOINT = (Cell("a", "de"), Cell("b", "en"))


@pytest.mark.usefixtures("no_figures")
def test_each_comparison_is_said_with_its_intervals_and_tokens(tmp_path: Path) -> None:
    study = study_of(World(normal_effects(0.08), joint=[JOINT], tasks=("a", "b", "c"), items=100))
    page = files.write(study, tmp_path).index.read_text(encoding="utf-8")
    assert '<h2 id="schedules">' in page
    assert 'href="#schedules"' in page
    (line,) = schedules.said(make_all(TABLES, study)["schedules"])
    assert line in page
    number = r"[+−][\d.]+"
    side = rf"{number} pp on {{}} \({number} to {number}\)"
    words = ", ".join(side.format(what) for what in ("its own cells", "other languages of its tasks", "other tasks"))
    harm = r"[\d.]+ % of these targets show a harm, beside [\d.]+ % \(noise alone would show [\d.]+ %; .*\)"
    told = rf"{words}; 20 tokens in training beside 20; {harm}\."
    assert "There is one seed" not in page  # there are two
    one = study_of(World(normal_effects(0.08), joint=[JOINT], seeds=(1,), items=40))
    assert schedules.seeds(make_all(TABLES, one)["schedules"]).startswith(" There is one seed: what is said is about")
    assert re.fullmatch(rf"tiny-1B: a/de\+b/en beside single sources of its cells, by accuracy: {told}", line)


@pytest.mark.usefixtures("no_figures")
def test_a_study_of_single_sources_has_no_such_chapter(tmp_path: Path) -> None:
    page = files.write(study_of(World(normal_effects(0.08), items=40)), tmp_path).index.read_text(encoding="utf-8")
    assert 'id="schedules"' not in page
