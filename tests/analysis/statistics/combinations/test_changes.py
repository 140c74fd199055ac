"""Changed data beside the cells as they are and beside combinations: planted gains are found, and said in sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.frames import NotComputable
from analysis.page import files
from analysis.page.changes import said
from analysis.reading.study import Study
from analysis.reading.transfer import learned_from
from analysis.statistics.combinations.changes import COLUMNS, TABLES, changes
from analysis.statistics.roles import task_roles
from analysis.tables.registry import Made
from study.cells import Cell, Change, Source, Switch
from tests.support.combined import Mix, World, study_of

EN, DE, FR = (Cell("a", language) for language in ("en", "de", "fr"))
EIGHT = Source((EN, DE), name="eight", change=Change(shots=((DE, 8),)))
MIXED = Source((EN,), name="mixed", change=Change(switch=Switch("words.tsv", 0.5)))
GAIN = 0.12


def effect(source: Cell, target: Cell) -> float:
    return 0.2 if source == target else 0.0


@pytest.fixture(scope="module")
def study() -> Study:
    mixes = [
        Mix("add", {EN: 0.5, FR: 0.5}, more=lambda target: 0.04 if target == DE else 0.0),
        Mix("knows", {DE: 1.0}),  # what was trained on the target's own cell had its data
    ]
    return study_of(World(effect, mixes, stages=[EIGHT, MIXED], changed=GAIN, items=1500))


def test_what_the_data_bring_and_what_adapters_do(study: Study) -> None:
    table = changes(study)
    assert table.columns == list(COLUMNS)
    assert set(table.select("source_task", "source_language").iter_rows()) == {("a@eight", "en+de"), ("a@mixed", "en")}
    assert set(table["target_task"]) == {"a"}
    for row in table.filter(target_language="de").iter_rows(named=True):
        assert row["unchanged"] == "a/en"
        assert row["gain_unchanged_low"] < 100 * GAIN < row["gain_unchanged_high"]
        assert row["adapter"] == "add"
        assert row["gain_adapter_low"] < 100 * (GAIN - 0.04) < row["gain_adapter_high"]
        assert row["delta"] - row["delta_adapter"] == pytest.approx(row["gain_adapter"])
        assert row["delta_ceiling"] == pytest.approx(20, abs=4)
        assert row["few_shot"] is (row["source_task"] == "a@eight")
    assert table.filter(target_language="en")["adapter"].to_list() == ["knows", "knows"]


def test_it_is_a_sentence_each(study: Study) -> None:
    frame = changes(study)
    lines = list(said(Made(TABLES[0], frame)))
    assert len(lines) == frame.height
    [line] = [line for line in lines if "a@eight in en+de" in line and "on a/de" in line]
    assert "(8 examples of a/de beside) on a/de, some of whose examples it has learned, has +" in line
    assert " beside a/en as it is, +" in line
    assert " beside the best combination of adapters, add; what is trained there itself has +" in line


def test_a_changed_source_is_no_donor_and_its_cells_are_known(study: Study) -> None:
    assert study.joint["a@eight", "en+de"] == (EN, DE)
    named = {str(learned_from(record)) for record in study.records}
    assert {"a/en+a/de@8@eight", "a/en@mixed"} <= named
    assert all("@" not in name for name in task_roles(study.singles.transfer)["task"])
    row = study.transfer.filter(source_task="a@eight", target_language="de", target_task="a")
    assert row["regime"].to_list() == ["MT-ML"]


def test_without_changed_data_there_is_no_table() -> None:
    with pytest.raises(NotComputable, match="no source has other data than its cells' own"):
        changes(study_of(World(effect, items=40)))


@pytest.mark.usefixtures("no_figures")
def test_it_is_a_chapter_of_the_page(study: Study, tmp_path: Path) -> None:
    page = files.write(study, tmp_path).index.read_text(encoding="utf-8")
    assert '<h2 id="data_or_adapter">Data or adapter?</h2>' in page
    assert 'href="#data_or_adapter"' in page
