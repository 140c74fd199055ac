"""Groups of items: which clusters they make in several languages, and that a report counts these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.reading.grids import clusters
from analysis.reading.groups import grouped, hanging
from analysis.reading.panels import Panel
from analysis.reading.study import load_store
from study.store.seen import Groups, Seen, renew
from tests.support.synth import Shape, write_store


def panel(language: str, docs: int = 6) -> Panel:
    blank = np.zeros((1, docs), np.float32)
    numbers = np.arange(docs)
    return Panel(
        "m", "quiz", language, np.array([0]), numbers, "", blank, blank, blank.astype(np.int16), numbers, numbers, ()
    )


def numbered(**groups: Groups) -> dict[str, list[int]]:
    found = grouped([panel(name) for name in groups], {f"quiz/{name}": some for name, some in groups.items()})
    return {one.language: one.group.tolist() for one in found if one.group is not None}


def test_a_value_that_languages_share_is_one_group_whatever_the_numbers() -> None:
    found = numbered(de={"a": (0, 1), "b": (2, 3)}, en={"b": (0, 1, 2), "a": (3, 4)})
    assert found["de"] == [0, 0, 1, 1, 2, 3]  # 4 and 5 are in no group
    assert found["en"] == [1, 1, 1, 0, 0, 3]


def test_where_languages_share_no_value_groups_go_by_numbers() -> None:
    """Passages in the languages' own words; English has one question less about the second."""
    found = numbered(de={"eins": (0, 1), "zwei": (2, 3, 4)}, en={"one": (0, 1), "two": (2, 3)})
    assert found["de"] == [0, 0, 1, 1, 1, 2]
    assert found["en"] == found["de"]  # its fifth, which is in no group, is the German one, which is of the second


def test_tasks_without_groups_stay_as_they_are() -> None:
    one = panel("de")
    assert grouped([one], {"other/de": {"a": (0, 1)}, "quiz/de": {}}) == [one]
    assert list(hanging([one])) == []
    told = clusters([one])["quiz"]
    assert (told.of(one).tolist(), told.first.tolist()) == (one.docs.tolist(), one.docs.tolist())


def test_of_a_metric_of_all_items_it_is_said_that_they_count_by_themselves() -> None:
    one = panel("de")
    bare = replace(one, correct=np.nan * one.correct, norm=np.nan * one.norm)
    (said,) = hanging(grouped([bare], {"quiz/de": {"a": (0, 1)}}))
    assert "its intervals are too narrow" in said
    (counted,) = hanging(grouped([one], {"quiz/de": {"a": (0, 1)}}))
    assert "are what intervals and claims count" in counted


def test_the_report_counts_groups(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", Shape(items=24))
    before = load_store(str(tmp_path / "s"))
    tasks = sorted({one.task for one in before.panels})
    cells = {f"{one.task}/{one.language}" for one in before.panels if one.task == tasks[0]}
    pairs = {f"p{i}": (2 * i, 2 * i + 1) for i in range(12)}
    renew(store, lambda seen: Seen(groups=dict.fromkeys(cells, pairs)))
    after = load_store(str(tmp_path / "s"))
    assert after.transfer.equals(before.transfer)
    (note,) = after.notes
    assert note.startswith(f"Items of {tasks[0]} hang together in 12 groups")
    for old, new in zip(before.grids, after.grids, strict=True):
        together = [task == tasks[0] for task, _ in new.targets]
        assert (new.grid.n_apart[:, together] == 12).all()
        assert new.grid.n_apart[:, np.logical_not(together)] == pytest.approx(
            old.grid.n_apart[:, np.logical_not(together)]
        )
        assert np.array_equal(new.grid.delta, old.grid.delta)
        assert new.grid.n_clusters == old.grid.n_clusters - 12
