"""What noise does to a correlation: values of known truth, measured twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.inference import attenuation
from analysis.inference.components import Doubles
from analysis.reading.doubles import Twice, twice
from analysis.reading.grids import ModelGrid
from analysis.reading.study import load_store
from analysis.statistics import curated
from analysis.statistics.languages import linguistic
from analysis.statistics.matrices import language_matrix, square
from tests.support.synth import Shape, write_store

Array = np.ndarray
TASKS = {"a": 0, "b": 1}


def measured(truth: Array, noise: float, seed: int, splits: int = 4) -> tuple[Array, Array, Array]:
    """Two halves and what is printed of some values; a half has twice the variance of noise."""
    rng = np.random.default_rng(seed)
    one, two = (truth + rng.normal(0, noise * 2**0.5, (splits, len(truth))) for _ in range(2))
    return one, two, truth + rng.normal(0, noise, len(truth))


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_ceilings_are_what_perfect_agreement_shows_beneath_noise(noise: float) -> None:
    truth = np.random.default_rng(0).normal(0, 1, 20_000)
    (one, two, printed), (other_one, other_two, other) = (measured(truth, noise, seed) for seed in (1, 2))
    mine, theirs = (attenuation.reliability(*halves) for halves in ((one, two, printed), (other_one, other_two, other)))
    assert mine == pytest.approx(1 / (1 + noise**2), abs=0.03)
    assert np.sqrt(mine) == pytest.approx(np.corrcoef(truth, printed)[0, 1], abs=0.03)
    both = attenuation.spearman_ceiling(float(np.sqrt(mine * theirs)))
    assert both == pytest.approx(stats.spearmanr(printed, other).statistic, abs=0.03)


def test_values_that_do_not_agree_do_not_for_their_common_noise() -> None:
    """Two studies beside one base: its items' noise is in both, and in no product of theirs."""
    rng = np.random.default_rng(3)
    truth, others = rng.normal(0, 1, (2, 20_000))
    base = [rng.normal(0, 2, (4, 20_000)) for _ in range(2)]
    for own, expected in ((others, 0.0), (truth, 1.0), (0.6 * truth + 0.8 * others, 0.6)):
        here, there = (
            (values + base[0] + rng.normal(0, 1, base[0].shape), values + base[1] + rng.normal(0, 1, base[1].shape))
            for values in (truth, own)
        )
        assert attenuation.clean_pearson(here, there) == pytest.approx(expected, abs=0.06)
    still = tuple(half - half.mean(axis=0) for half in base)
    assert np.isnan(attenuation.clean_pearson((0 * still[0], 0 * still[1]), (still[0], still[1])))


def test_what_one_split_lacks_is_left_out_of_all_that_is_compared() -> None:
    """Half of the values vary ten times as much, and the other study has them not."""
    rng = np.random.default_rng(4)
    truth = rng.normal(0, 1, 10_000) * np.where(np.arange(10_000) % 2, 10, 1)
    here, there = ([truth + rng.normal(0, 1, (4, 10_000)) for _ in range(2)] for _ in range(2))
    there[1][2, 1::2] = np.nan
    assert attenuation.clean_pearson((here[0], here[1]), (there[0], there[1])) == pytest.approx(1, abs=0.06)


def test_a_cell_that_lacks_a_seed_is_in_both_halves() -> None:
    """Two sources of two seeds, one target of which one seed was not scored."""
    values = np.arange(2 * 1 * 2 * 2 * 3, dtype=np.float32).reshape(2, 1, 2, 2, 3)
    values[:, 0, 1, 0, 2] = np.nan
    names = tuple((f"t{i}", "en") for i in range(3))
    whole = Twice(
        ("m",), names[:2], names, Doubles(values, values + 0.5, True), values[0, :, :, 0], np.full((2, 3), "x")
    )
    one, two = whole.apart()
    assert not np.isnan(one).any()
    assert not np.isnan(two).any()
    assert (one[:, 0, 1, 2] == values[:, 0, 1, 1, 2]).all()
    assert one[0, 0, 0].tolist() == values[0, 0, 0, 0].tolist()
    assert two[0, 0, 0].tolist() == (values[0, 0, 0, 1] + 0.5).tolist()


def test_what_never_varies_has_no_reliability() -> None:
    flat = np.zeros((4, 9))
    assert np.isnan(attenuation.reliability(flat, flat, np.zeros(9)))
    assert np.isnan(attenuation.reliability(flat[:, :2], flat[:, :2], np.arange(2.0)))


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one") / "store"
    write_store(root, Shape(items=24, seeds=(1,), languages=("de", "en", "es", "fr"), tasks=("a", "b")))
    return root


def test_halves_of_the_language_matrix_average_to_the_matrix(one_seed: Path) -> None:
    study = load_store(str(one_seed))
    labels = ["de", "en", "es", "fr"]
    halves = linguistic._halves(study.grids, labels)
    expected = square(language_matrix(study.transfer), labels)
    middle = (halves[0] + halves[1]).mean(axis=0) / 2
    np.testing.assert_allclose(middle[~np.eye(4, dtype=bool)], expected[~np.eye(4, dtype=bool)], atol=1e-4)
    table = linguistic.linguistic(study.transfer, study.grids, permutations=10)
    assert table.columns == list(linguistic.COLUMNS)
    off = ~np.eye(4, dtype=bool)
    whole = np.var(expected[off], ddof=1)
    shared = np.mean([np.cov(a[off], b[off])[0, 1] for a, b in zip(*halves, strict=True)])
    most = np.sqrt(np.clip(shared / whole, 0, 1))
    assert table["pearson_ceiling"].to_list() == pytest.approx([most] * 3, abs=1e-6)
    assert linguistic.linguistic(study.transfer, permutations=10)["pearson_ceiling"].null_count() == 3


def test_halves_of_donors_average_to_their_scores(one_seed: Path) -> None:
    study = load_store(str(one_seed))
    table = curated.curated_vs_translated(study.transfer, ("a",), study.grids)
    rows = study.transfer.filter(pl.col("regime") == "MT-CL")
    whole = twice(study.grids).only("MT-CL")
    found = []
    for task in ("a", "b"):
        part = rows.filter(pl.col("target_task") == task)
        scores = (
            part.group_by("source_language").agg(pl.col("delta").mean()).sort("source_language")["delta"].to_numpy()
        )
        source = np.array([[name == language for _, name in whole.sources] for language in ("de", "en", "es", "fr")])
        target = np.array([[name == task for name, _ in whole.targets]])
        one, two = (curated._over_models(half, source, target) for half in whole.apart())
        np.testing.assert_allclose((one + two).mean(axis=0) / 2, scores, atol=1e-4)
        found.append(attenuation.reliability(one, two, scores))
    expected = attenuation.spearman_ceiling(float(np.sqrt(found[0] * found[1])))
    assert table["ceiling"].item() == pytest.approx(expected, abs=1e-4)
    assert curated.curated_vs_translated(study.transfer, ("a",))["ceiling"].item() is None


def test_halves_with_two_seeds_have_no_seed_in_common(study_grids: tuple[ModelGrid, ...]) -> None:
    whole = twice(study_grids)
    one, two = whole.apart()
    np.testing.assert_allclose(one[0], whole.data.one[0][:, :, 0], atol=1e-6)
    np.testing.assert_allclose(two[0], whole.data.two[0][:, :, 1], atol=1e-6)
    np.testing.assert_allclose(one[1], whole.data.one[1][:, :, 1], atol=1e-6)


@pytest.fixture
def study_grids(store_path: Path) -> tuple[ModelGrid, ...]:
    return load_store(str(store_path)).grids
