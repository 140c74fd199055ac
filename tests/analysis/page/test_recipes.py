"""The report of a study of two recipes: every table says of each what a study of it alone would say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import analysis
from analysis import advise
from analysis.frames import SOURCE, TARGET
from analysis.page import files, recipes
from analysis.page.beside import beside
from analysis.page.recipes import links
from analysis.page.training import sentence
from analysis.reading.study import Study, load_store
from analysis.report import main
from analysis.statistics.health import health
from analysis.tables import exclusion
from analysis.tables.registry import RECIPE_WORDS, TABLES, make, tables_of
from study.errors import ConfigError
from study.store.schema import RECIPES, SUBJECTS, TARGETS, table
from study.store.store import Store
from tests.support.rows import record_of
from tests.support.synth import Shape, unit_rows

SHAPE = Shape(languages=("de", "en"), items=12)
CELLS = [(task, language) for task in SHAPE.tasks for language in SHAPE.languages]


def of_recipe(name: str, source: tuple[str, str], seed: int, target: tuple[str, str]) -> tuple[list, list]:
    """Rows of one unit: adapters of `low` are those of other seeds, but trained by the same ones."""
    items, scores = unit_rows(SHAPE, SHAPE.models[0], source, seed + 100 * (name == "low"), target)
    for row in (*items, *scores):
        row |= {"seed": seed, "recipe": name}
    return items, scores


def write(folder: Path, names: tuple[str, ...]) -> Store:
    store, subjects, named = Store(str(folder)), [], []
    subject = {"model_size": 1.0, "model_family": "tiny"}
    for name in (None, *names):
        for source in [None] if name is None else CELLS:
            for seed in [None] if name is None else SHAPE.seeds:
                parts = [
                    unit_rows(SHAPE, SHAPE.models[0], None, None, target) if name is None
                    else of_recipe(name, source, seed, target)  # type: ignore[arg-type]
                    for target in CELLS
                ]  # fmt: skip
                store.append(*([row for part in parts for row in part[side]] for side in (0, 1)))
                about = parts[0][1][0] | subject
                subjects.append({field: about[field] for field in SUBJECTS.names})
                if name is not None:
                    named.append({"adapter_id": about["adapter_id"], "recipe": name})
    targets = [{"target_id": f"{t}/{lang}", "target_task": t, "target_language": lang} for t, lang in CELLS]
    several = table(RECIPES, named) if len(names) > 1 else None
    store.write_grid(table(SUBJECTS, subjects), table(TARGETS, targets), recipes=several)
    store.write("study.yaml", b"config: {study: synthetic}\n")
    return store


def report(study: Study, out: Path, *others: Study) -> None:
    """All but the figures, which take long, and pages of one recipe alone."""
    pages = files.pages_of(study, others)
    files.write_tables(files.tables_of(pages), study, out / "tables")
    for one in pages if study.across and not others else ():
        (out / one.file).write_text(one.html(), encoding="utf-8")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of the reports of both recipes, and of each alone."""
    folder = tmp_path_factory.mktemp("recipes")
    stores = {"both": ("plain", "low"), "plain": ("plain",), "low": ("low",)}
    for key, names in stores.items():
        report(load_store(write(folder / key, names).uri), folder / f"{key}-report")
    return lambda key: folder / f"{key}-report"


def test_from_python_each_recipe_is_named(reports: Callable[[str], Path]) -> None:
    """Tables are those that the report writes; no figure and no advice is silently of the first recipe."""
    study = analysis.open(reports("both").parent / "both")
    for name in ("regime_summary", "transfer", "language_roles", "recipes"):
        assert_frame_equal(study.tables[name], pl.read_parquet(reports("both") / "tables" / f"{name}.parquet"))
    assert {"plain/regimes", "low/regimes"} < set(study.plots)
    assert "2 recipes (plain, low)" in study._repr_html_()
    with pytest.raises(ConfigError, match="has the recipes plain, low"):
        study.advise(source="names/de")
    assert study.advise(source="names/de", recipe="low").height == 4
    assert study.scores["recipe"].drop_nulls().unique().sort().to_list() == ["low", "plain"]


def test_every_table_has_of_each_recipe_what_it_has_alone(reports: Callable[[str], Path]) -> None:
    made = 0
    for one in TABLES:
        file = f"tables/{one.name}.parquet"
        if one.name == "recipes" or not (reports("both") / file).exists():
            assert not (reports("plain") / file).exists()
            continue
        both = pl.read_parquet(reports("both") / file)
        assert both.columns == [*RECIPE_WORDS, *one.columns]
        for name in ("plain", "low"):
            alone = reports(name) / file
            part = both.filter(pl.col("recipe") == name).drop("recipe")
            assert part.equals(pl.read_parquet(alone)) if alone.exists() else not part.height, one.name
            made += alone.exists()
    assert made >= 40


def test_there_is_a_page_and_a_published_table_of_each(reports: Callable[[str], Path]) -> None:
    folder = reports("both")
    pages = [(folder / name).read_text(encoding="utf-8") for name in ("index.html", "recipe-low.html")]
    assert ["recipe <strong>plain" in pages[0], "recipe <strong>low" in pages[1]] == [True, True]
    assert all("low beside plain, by accuracy:" in page and 'id="recipes"' in page for page in pages)
    assert 'href="recipe-low.html"' in pages[0]
    assert {file.name for file in (folder / "tables").glob("transfer_results*")} == {
        "transfer_results-low.csv", "transfer_results-plain.csv"
    }  # fmt: skip
    for name in ("plain", "low"):
        alone = (reports(name) / "tables" / "transfer_results.csv").read_bytes()
        assert (folder / "tables" / f"transfer_results-{name}.csv").read_bytes() == alone


def test_recipes_are_no_seeds_and_are_compared_with_their_namesakes(
    reports: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = reports("both")
    assert pl.read_parquet(folder / "tables/transfer.parquet")["n_seeds"].unique().to_list() == [len(SHAPE.seeds)]
    both, low = (load_store(str(folder.parent / key)) for key in ("both", "low"))
    report(both, tmp_path, low)
    compared = pl.read_parquet(tmp_path / "tables/compare_transfer.parquet")
    assert (compared.filter(pl.col("recipe") == "low")["difference"] == 0).all()
    assert not (compared.filter(pl.col("recipe") == "plain")["difference"] == 0).all()


def test_a_study_without_recipes_is_set_beside_each_of_another(reports: Callable[[str], Path], tmp_path: Path) -> None:
    """It was set beside the first of them, and nothing said so."""
    plain, both = (load_store(str(reports("both").parent / key)) for key in ("plain", "both"))
    report(plain, tmp_path, both)
    compared = pl.read_parquet(tmp_path / "tables/compare_transfer.parquet")
    assert compared["other"].unique(maintain_order=True).to_list() == [
        "synthetic, recipe plain",
        "synthetic, recipe low",
    ]
    same = {name: (part["difference"] == 0).all() for (name,), part in compared.group_by("other")}
    assert same == {"synthetic, recipe plain": True, "synthetic, recipe low": False}


def test_any_number_of_studies_and_recipes_are_on_one_page(reports: Callable[[str], Path], tmp_path: Path) -> None:
    folder = reports("both").parent
    names = [str(folder / "low"), f"{folder / 'both'}#low", f"{folder / 'both'}#plain"]
    plain, *others = (files.read(name) for name in (str(folder / "plain"), *names))
    report(plain, tmp_path, *others)
    (page,) = files.pages_of(plain, others)
    text = page.html()
    assert '<h2 id="compare">Beside other studies</h2>' in text
    called = ["synthetic", f"synthetic ({names[0]})", "synthetic, recipe low", "synthetic, recipe plain"]
    table = pl.read_parquet(tmp_path / "tables/compare_pairs.parquet")
    pairs = table.select("study", "other").unique(maintain_order=True).rows()
    assert pairs == list(combinations(called, 2))
    deltas = {name: one.transfer.to_pandas() for name, one in zip(called, [plain, *others], strict=True)}
    for row in table.iter_rows(named=True):
        one, other = (deltas[row[end]] for end in ("study", "other"))
        of = "regime != 'MT-ML'" if row["regime"] == "all" else f"regime == '{row['regime']}'"
        both = one.query(of).merge(other, on=["model", *SOURCE, *TARGET])
        assert len(both) == row["n"]
        assert row["difference"] == pytest.approx((both["delta_x"] - both["delta_y"]).mean(), abs=1e-9)
        assert (row["mean"], row["mean_other"]) == pytest.approx((both["delta_x"].mean(), both["delta_y"].mean()))
        assert row["p"] is None or row["q"] >= row["p"] - 1e-12
    alike = table.filter(pl.col("study") == "synthetic", pl.col("other") == "synthetic, recipe plain")
    assert alike["difference"].to_list() == [0] * alike.height
    regimes = pl.read_parquet(tmp_path / "tables/compare_regimes.parquet")
    assert regimes["other"].unique(maintain_order=True).to_list() == called[1:]


def test_recipes_of_others_are_named_right_or_refused(
    reports: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, low = (str(reports("both").parent / key) for key in ("both", "low"))
    for wrong, said in (
        ([low, "--compare", f"{both}#no", "--out", str(tmp_path)], "the study has the recipes plain, low"),
        (
            [low, "--compare", f"{low}#low", "--out", str(tmp_path)],
            f"--compare = '{low}#low': the study has one",
        ),
        ([low, "--compare", str(tmp_path / "no"), "--out", str(tmp_path)], "no': holds no study"),
        ([low, "--out", "s3://bucket/x"], "no folder of this machine"),
        ([low, "--compare", both, both, "--out", str(tmp_path)], "is named twice"),
        ([f"{both}#low", "--compare", low], "name a folder with --out"),
        ([f"{both}#low", "--compare", both, "--out", str(tmp_path)], "is the study itself"),
    ):
        assert main(wrong) == 2
        assert said in capsys.readouterr().err


def test_a_recipe_is_set_beside_the_others_of_its_study_and_not_beside_itself(reports: Callable[[str], Path]) -> None:
    both = str(reports("both").parent / "both")
    other = files.read(f"{both}#low")
    plain, low = (beside(one, [other]) for one in files.studies_of(files.read(both)))
    assert plain.made["compare_transfer"].frame is not None
    assert low.made["compare_transfer"].frame is None
    assert low.notes == ("This is synthetic, recipe low itself.",)


def test_unhealthy_targets_are_left_out_of_every_recipe(
    reports: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = pl.col("target_task") + "/" + pl.col("target_language") == "/".join(CELLS[0])
    monkeypatch.setattr(exclusion, "health", lambda *of: health(*of).filter(here))
    study = files.read(str(reports("both").parent / "both"), exclude_unhealthy=True)
    assert study.across is not None
    for one in study.across.studies.values():
        kept = {(panel.task, panel.language) for panel in one.panels}
        assert kept == set(CELLS[1:])
        assert {tuple(row) for row in one.transfer.select("target_task", "target_language").rows()} == kept


def test_advice_is_of_one_recipe(reports: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    store, target = str(reports("both").parent / "both"), "/".join(CELLS[0])
    assert advise.main([store, "--target", target]) == 2
    assert "the study has the recipes plain, low" in capsys.readouterr().err
    said = []
    for name in ("both", "low"):
        more = ["--recipe", "low"] if name == "both" else []
        assert advise.main([str(reports("both").parent / name), "--target", target, *more]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert advise.main([str(reports("both").parent / "low"), "--target", target, "--recipe", "x"]) == 2


def test_a_recipe_alone_has_no_others_beside_it() -> None:
    assert links(["plain"], "plain") == '<p class="soft">This page is of the recipe <strong>plain</strong>.</p>'
    assert "there are pages of" in links(["plain", "low"], "low")


@pytest.mark.usefixtures("no_figures")
def test_pages_and_figures_of_a_recipe_that_is_gone_go_too(reports: Callable[[str], Path], tmp_path: Path) -> None:
    """What the report has not written stays, whatever it is called."""
    figures = tmp_path / "figures"
    old = [figures / "gone" / "matrix.svg", tmp_path / "recipe-gone.html"]
    mine = [figures / "mine" / "notes.txt", figures / "mine" / "sketch.svg", tmp_path / "recipe-cake.html"]
    for file in (*old, *mine):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    old[1].write_text("<!doctype html>\n<title>Transfer report: gone</title>")
    files.write(load_store(str(reports("plain").parent / "plain")), tmp_path)
    assert [one.exists() for one in (*old, old[0].parent)] == [False, False, False]
    assert [one.exists() for one in mine] == [True, True, True]


def test_steps_that_end_training_are_told() -> None:
    record = record_of("a", model="m", source=["t/de"], recipe={"max_steps": 1000})
    study = Study("s", "", pl.DataFrame(), units=pl.DataFrame({"adapter_id": ["a"]}), records=(record,))
    assert "epochs but 1,000 steps at most, learning rate" in str(sentence(study))


def test_the_first_screen_says_how_many_comparisons_it_leaves_out(tmp_path: Path) -> None:
    study = load_store(write(tmp_path, ("low", "high", "mid")).uri)
    made = {one.name: make(one, study) for one in tables_of(study) if one.name == recipes.SHOWN}
    frame = made[recipes.SHOWN].frame
    assert frame is not None
    first, *others = recipes.said(frame)
    assert len(others) == 1  # the third has the adapters of the second
    assert recipes.line(made) == f"Recipes: {first} 1 more comparison of recipes below."
    only = replace(made[recipes.SHOWN], frame=frame.filter(recipe=frame["recipe"][0], beside=frame["beside"][0]))
    assert recipes.line({recipes.SHOWN: only}) == f"Recipes: {next(recipes.said(only.frame))}"
