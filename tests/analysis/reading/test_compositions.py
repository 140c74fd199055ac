"""Reading what is put together: rows of their own, items to choose by apart, sources of several cells by these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analysis.frames import KEYS
from analysis.page import files
from analysis.reading.study import Study, load_store
from analysis.statistics.combinations.compositions import compositions
from analysis.statistics.combinations.curve import lambda_curve
from analysis.statistics.existing import existing
from analysis.statistics.roles import language_roles
from analysis.statistics.significance import significance
from analysis.tables.registry import TABLES, make_all
from study.cells import Cell, regime_of
from study.store import composed
from study.store.composed import ComposedRecord, Pair, Weighted
from study.store.schema import COMPOSITIONS, SUBJECTS, TARGETS, table
from study.store.store import Store
from tests.support.rows import record_text
from tests.support.synth import Shape, ident, unit_rows, write_store

SHAPE = Shape(items=24, seeds=(1,))
MODEL = SHAPE.models[0]
CELLS = [(task, language) for task in SHAPE.tasks for language in SHAPE.languages]
PARTS = [ident(SHAPE.seed, MODEL[0], cell, 1) for cell in CELLS[:2]]
MADE = {"mix-0": 0.0, "mix-5": 0.5, "mix-9": 0.9}  # of one name and seed
HELD_OUT = [f"held/{'/'.join(cell)}" for cell in CELLS]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three lambdas of one composition and another beside them, all of seed 1, and scores on held-out items."""
    made = write_store(tmp_path_factory.mktemp("combined") / "store", SHAPE, grid=False)
    for adapter in (*MADE, "other", None):
        items, scores = [], []
        for cell, target_id in zip(CELLS, HELD_OUT, strict=True):
            if adapter is not None:
                rows, found = unit_rows(SHAPE, MODEL, None, 1, cell, adapter)
                items, scores = items + rows, scores + found
            if adapter != "other":
                rows, found = unit_rows(SHAPE, MODEL, None, None if adapter is None else 1, cell, adapter)
                gain = 0.0 if adapter is None else 0.2 - abs(MADE[adapter] - 0.5)
                own = {"score_id": f"{target_id}{adapter}"}
                items += [row | own | {"correct": 1.0, "correct_norm": 1.0} for row in rows]
                scores += [
                    row | own | {"target_id": target_id, "value": 0.5 + gain, "headline": row["metric"] == "acc_norm"}
                    for row in found
                ]
        made.append(items, scores)
    write_grid(made)
    for adapter, at in MADE.items():
        folder = f"adapters/{MODEL[0]}/composed/mix/seed1-{adapter}"
        terms = (Weighted(PARTS[0], "f", 1 - at), Weighted(PARTS[1], "f", at))
        composed.put(made, folder, {}, ComposedRecord(
            adapter_id=adapter, model=MODEL[0], name="mix", seed=1, method="sum", parameters={}, norm=1.0, rank=8,
            terms=terms, truncation=0.0, pairs=(Pair(0, 1, 0.3, 0.5, 0.4),),
        ))  # fmt: skip
    return made


def write_grid(store: Store) -> None:
    scores = pl.DataFrame(pl.from_arrow(store.scores())).unique("subject_id", keep="first", maintain_order=True)
    subjects = [
        {name: row.get(name) for name in SUBJECTS.names} | {"model_size": 1.0, "model_family": "tiny"}
        for row in scores.iter_rows(named=True)
    ]
    for row in subjects:
        row["subject_id"] = row["adapter_id"] or MODEL[0]
    targets = [{"target_id": "/".join(cell), "target_task": cell[0], "target_language": cell[1]} for cell in CELLS]
    terms = [
        {"subject_id": part, "source": "/".join(cell), "weight": 0.5}
        for part, cell in zip(PARTS, CELLS[:2], strict=True)
    ]
    named = [("mix", adapter, at, "target") for adapter, at in MADE.items()]
    rows = [
        {
            "adapter_id": adapter, "name": name, "model": MODEL[0], "seed": 1, "method": "sum", "strength": at,
            "protocol": protocol, "language": None, "terms": terms, "recipe": None,
            "family": None,
        }
        for name, adapter, at, protocol in (*named, ("other", "other", None, None), ("half", "mix-5", None, None))
    ]  # fmt: skip
    more = {"compositions": table(COMPOSITIONS, rows), "held_out": HELD_OUT}
    store.write_grid(table(SUBJECTS, subjects), table(TARGETS, targets), **more)


@pytest.fixture(scope="module")
def study(store: Store) -> Study:
    return load_store(store.uri)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same without compositions."""
    return load_store(write_store(tmp_path_factory.mktemp("plain") / "store", SHAPE, grid=False).uri)


def test_compositions_of_one_seed_are_one_each(study: Study) -> None:
    units = study.units.filter(pl.col("kind") == "composed")
    assert units.group_by("adapter_id").len().sort("adapter_id").rows() == [(one, 6) for one in (*MADE, "other")]
    found = compositions(study)
    assert found.group_by("name").len().sort("name").rows() == [("half", 6), ("mix", 6), ("other", 6)]
    assert set(found.filter(name="mix")["lambda"]) == {0.5}  # what held-out items choose
    same = [found.filter(name=name).sort("target_task", "target_language")["delta"] for name in ("mix", "half")]
    assert same[0].equals(same[1])  # one adapter under two names
    assert set(found.filter(name="mix")["rank"]) == {8}
    assert found.filter(name="other")["rank"].null_count() == 6  # nothing was recorded of it


def test_items_to_choose_by_are_in_no_delta(study: Study, plain: Study) -> None:
    """All answers to them are right, under the base, too."""
    assert study.transfer.equals(plain.transfer)
    assert not any("item rows" in why for _, why in study.excluded)
    assert (24, "compositions") in study.apart
    assert study.expected == study.done == (1 + 6 + 4) * 6
    assert [len(panel.units) for panel in study.panels] == [1 + 6 + 4] * 6
    curve = lambda_curve(study).filter(target_task=CELLS[0][0], target_language=CELLS[0][1])
    assert curve.select("lambda", "validation", "chosen").rows() == [
        (0.0, pytest.approx(-30.0), False), (0.5, pytest.approx(20.0), True), (0.9, pytest.approx(-20.0), False)
    ]  # fmt: skip


def test_other_tables_are_as_without(study: Study, plain: Study) -> None:
    alone = make_all(TABLES, plain)
    for name, made in make_all(TABLES, study).items():
        if made.frame is not None and alone[name].frame is not None and name != "metrics":
            assert made.frame.equals(alone[name].frame), name


@pytest.mark.usefixtures("no_figures")
def test_the_page_can_leave_unhealthy_targets_out(study: Study, tmp_path: Path) -> None:
    from analysis.tables.exclusion import without_unhealthy

    left = without_unhealthy(study)
    written = files.write(left, tmp_path)
    assert written.index.exists()
    gone = {(task, language) for _, task, language in left.unhealthy}
    here = set(compositions(left).select("target_task", "target_language").iter_rows())
    assert here == set(CELLS) - gone


def test_an_adapter_of_others_is_no_seed_of_the_studys_own(tmp_path: Path) -> None:
    store, before = write_store(tmp_path / "s", SHAPE, grid=False), SHAPE.seeds
    items, scores = unit_rows(SHAPE, MODEL, None, None, ("names", "de"), adapter_id="ready-1")
    source = {"source_task": "names", "source_language": "en"}
    store.append([row | source for row in items], [row | source for row in scores])
    study = load_store(store.uri)
    assert set(study.transfer["n_seeds"]) == {len(before)}
    assert (1, "existing") in study.apart
    row = existing(study).row(0, named=True)
    assert (row["adapter"], row["source"], row["target_task"]) == ("ready-1", "names/en", "names")
    base, _ = unit_rows(SHAPE, MODEL, None, None, ("names", "de"))
    gained = [one["correct_norm"] - other["correct_norm"] for one, other in zip(items, base, strict=True)]
    assert row["delta"] == pytest.approx(100 * sum(gained) / len(gained), abs=1e-4)
    named = existing(replace(study, given={"ready-1": "somebody's"}))
    assert named["adapter"].to_list() == ["somebody's"]


def joint(store: Store, cells: list[tuple[str, str]], seed: int = 7) -> None:
    """A source of several cells, with its record."""
    names = {
        f"source_{end}": "+".join(dict.fromkeys(cell[i] for cell in cells))
        for i, end in enumerate(("task", "language"))
    }
    for target in CELLS:
        rows, scores = unit_rows(SHAPE, MODEL, cells[0], seed, target)
        own = names | {"adapter_id": "both", "score_id": f"both{target}"}
        store.append([row | own for row in rows], [row | own | {"subject_id": "both"} for row in scores])
    source = ["/".join(cell) for cell in cells]
    store.write("adapters/m/t/l/seed7-both/record.json", record_text("both", model=MODEL[0], source=source, seed=7))


def test_a_source_of_several_cells_relates_by_its_cells_and_is_no_donor(tmp_path: Path, plain: Study) -> None:
    """Of names in German and numbers in English nobody has learned numbers in German."""
    store = write_store(tmp_path / "s", SHAPE, grid=False)
    joint(store, [("names", "de"), ("numbers", "en")])
    study = load_store(store.uri)
    own = study.transfer.filter(pl.col("source_task") == "names+numbers")
    regimes = {(row[3], row[4]): regime for *row, regime in own.select(*KEYS, "regime").iter_rows()}
    assert regimes == {
        ("names", "de"): "MT-ML", ("numbers", "en"): "MT-ML",
        ("names", "en"): "MT-CL", ("names", "fr"): "MT-CL", ("numbers", "de"): "MT-CL", ("numbers", "fr"): "MT-CL",
    }  # fmt: skip
    told = significance(study.grids).filter(pl.col("source_task") == "names+numbers")
    assert dict(zip(told.select("target_task", "target_language").iter_rows(), told["regime"], strict=True)) == regimes
    donors = language_roles(study.singles.transfer, study.singles.grids)
    assert donors.equals(language_roles(plain.transfer, plain.grids))
    made, alone = (make_all(TABLES, one) for one in (study, plain))
    for name in ("language_roles", "task_roles", "consistency", "variance_noiseless", "variance_crossed", "asymmetry"):
        assert (made[name].frame is None) == (alone[name].frame is None)
        assert alone[name].frame is None or made[name].frame.equals(alone[name].frame), name


def test_the_four_regimes_of_cells() -> None:
    cells = (Cell("a", "de"), Cell("b", "en"))
    found = {(t, lang): regime_of(cells, Cell(t, lang)) for t in "abc" for lang in ("de", "en", "fr")}
    assert found["a", "de"] == found["b", "en"] == "MT-ML"
    assert found["a", "en"] == found["b", "de"] == found["a", "fr"] == "MT-CL"
    assert found["c", "de"] == found["c", "en"] == "CT-ML"
    assert found["c", "fr"] == "CT-CL"
