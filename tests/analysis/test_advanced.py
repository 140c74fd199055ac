"""Variance shares, consistency, agreement, asymmetry, linguistic distance: against independent implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from analysis.frames import NotComputable
from analysis.statistics import asymmetry, consistency, curated, linguistic, mantel, ranking, reml, uriel, variance
from tests.analysis.tables.test_registry import grid

# lme4's Penicillin data (Davies and Goldsmith 1972): diameter, mm, of 24 plates (rows) × 6 samples (columns)
PENICILLIN = """27 23 26 23 23 21, 27 23 26 23 23 21, 25 21 25 24 24 20, 26 23 25 23 23 20, 25 22 26 22 23 20,
24 22 25 23 22 19, 24 20 23 21 22 19, 26 22 26 24 24 21, 24 21 24 22 22 20, 24 21 24 23 22 19, 26 23 26 24 24 21,
25 22 26 24 24 20, 26 24 26 24 25 22, 26 23 26 23 23 20, 26 23 25 24 24 22, 25 22 25 23 23 20, 25 21 24 23 23 20,
25 22 24 23 23 19, 24 21 23 21 21 19, 26 23 26 24 24 21, 25 21 24 22 22 18, 25 22 25 22 22 20, 24 21 24 22 24 19,
24 21 24 22 21 18"""


def penicillin() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array([[float(v) for v in row.split()] for row in PENICILLIN.split(",")])
    plate, sample = np.meshgrid(np.arange(24), np.arange(6), indexing="ij")
    return table.ravel(), plate.ravel(), sample.ravel()


def test_reml_equals_lme4_on_penicillin() -> None:
    """lme4: REML criterion 330.8606; sd 0.8467 (plate), 1.9316 (sample), 0.5499 (residual); mean 22.9722."""
    y, plate, sample = penicillin()
    fit = reml.fit(reml.blocks([plate, sample]), y, 2)
    assert fit.criterion == pytest.approx(330.8606, abs=5e-5)
    np.testing.assert_allclose(np.sqrt([*fit.components, fit.residual]), [0.8467, 1.9316, 0.5499], atol=6e-5)
    assert fit.mean == pytest.approx(22.9722, abs=5e-5)


def test_reml_gradient_equals_differences_on_an_incomplete_grid() -> None:
    y, plate, sample = penicillin()
    kept = np.random.default_rng(3).random(len(y)) < 0.6
    for group in (None, plate[kept] % 3):
        data = reml.sums(reml.blocks([plate[kept], sample[kept]], group), y[kept])
        at = np.array([0.4, 2.0])
        gradient = reml.criterion(data, at)[1]
        for k in range(2):
            step = np.eye(2)[k] * 1e-5
            rise = reml.criterion(data, at + step)[0] - reml.criterion(data, at - step)[0]
            assert gradient[k] == pytest.approx(rise / 2e-5, rel=1e-4)


def dense_criterion(y: np.ndarray, factors: list[np.ndarray], variances: np.ndarray, residual: float) -> float:
    """−2 × REML log-likelihood with the full n × n covariance."""
    n = len(y)
    v = residual * np.eye(n)
    for codes, value in zip(factors, variances, strict=True):
        v += value * (codes[:, None] == codes[None, :])
    inverse, one = np.linalg.inv(v), np.ones(n)
    mean = (one @ inverse @ y) / (one @ inverse @ one)
    rest = y - mean
    logs = np.linalg.slogdet(v)[1] + np.log(one @ inverse @ one) + (n - 1) * np.log(2 * np.pi)
    return float(logs + rest @ inverse @ rest)


def test_reml_criterion_equals_the_dense_likelihood() -> None:
    y, plate, sample = penicillin()
    kept = np.random.default_rng(5).random(len(y)) < 0.7
    y, plate, sample = y[kept], plate[kept], sample[kept]
    fit = reml.fit(reml.blocks([plate, sample]), y, 2)
    assert fit.criterion == pytest.approx(dense_criterion(y, [plate, sample], fit.components, fit.residual))
    group = plate % 4
    nested = reml.fit(reml.blocks([group, sample], group), y, 2)
    within = group * 100 + sample
    assert nested.criterion == pytest.approx(dense_criterion(y, [group, within], nested.components, nested.residual))


def effects(seed: int, models: int = 12) -> pl.DataFrame:
    """Δ with crossed effects of known variance: model 0.5, source 1, target 2, residual 1.5."""
    rng = np.random.default_rng(seed)
    frame = grid(models=models)
    sources = {c: rng.normal(0, 1) for c in itertools.product("abc", ("de", "en", "fr", "zh"))}
    targets = {c: rng.normal(0, 2**0.5) for c in sources}
    model = {f"m{m}": rng.normal(0, 0.5**0.5) for m in range(models)}
    delta = [
        1 + model[m] + sources[s, sl] + targets[t, tl] + rng.normal(0, 1.5**0.5)
        for m, s, sl, t, tl in frame.select(
            "model", "source_task", "source_language", "target_task", "target_language"
        ).rows()
    ]
    return frame.with_columns(pl.Series("delta", delta))


def test_reml_recovers_simulated_components() -> None:
    rng = np.random.default_rng(0)
    model, source, target = (codes.ravel() for codes in np.meshgrid(range(8), range(15), range(15), indexing="ij"))
    kept = rng.random(len(model)) < 0.7
    factors, truth = [codes[kept] for codes in (model, source, target)], np.array([0.5, 1.0, 2.0])
    parts = reml.blocks(factors)
    at = reml.Fit(truth, 1.5, 1.0, 0.0)
    start = np.full(3, 0.5)
    with threadpool_limits(1):
        fits = [reml.fit(parts, reml.simulate(parts, at, int(kept.sum()), rng), 3, start) for _ in range(60)]
    found = np.array([[*fit.components, fit.residual] for fit in fits])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(fits))
    assert (np.abs(found.mean(axis=0) - [*truth, 1.5]) < 3.5 * error).all()


def test_variance_tables_and_their_errors() -> None:
    frame = effects(1, models=4).sample(fraction=0.8, seed=1)
    table = variance.variance_crossed(frame, draws=12)
    assert table.columns == ["scope", "component", "share", "share_se"]
    assert table["scope"].unique(maintain_order=True).to_list() == ["overall", "MT-CL", "CT-ML", "CT-CL"]
    assert table["component"].to_list() == ["model", "source", "target", "residual"] * 4
    np.testing.assert_allclose(table.group_by("scope", maintain_order=True).agg(pl.col("share").sum())["share"], 100)
    assert (table["share_se"].drop_nulls() >= 0).all()
    assert table.equals(variance.variance_crossed(frame.sample(fraction=1, shuffle=True, seed=2), draws=12))


def test_variance_nested_equals_statsmodels() -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    frame = effects(2, models=3).filter(pl.col("source_task") != "c", pl.col("target_task") != "c")
    table = variance.variance_nested(frame, draws=0).filter(pl.col("scope") == "overall")
    data = frame.filter(pl.col("regime") != "MT-ML").to_pandas()
    data["source"] = data["source_task"] + data["source_language"]
    data["target"] = data["target_task"] + data["target_language"]
    model = MixedLM.from_formula(
        "delta ~ 1",
        groups="model",
        re_formula="1",
        vc_formula={"source": "0 + C(source)", "target": "0 + C(target)"},
        data=data,
    )
    theirs = model.fit(reml=True, method="lbfgs")
    parts = np.array([theirs.cov_re.iloc[0, 0], *theirs.vcomp, theirs.scale])
    np.testing.assert_allclose(table["share"], 100 * parts / parts.sum(), atol=0.2)


def test_variance_of_one_model_leaves_its_share_open_and_constants_say_why() -> None:
    one = variance.variance_crossed(grid(models=1), draws=2).filter(pl.col("scope") == "overall")
    assert one.filter(pl.col("component") == "model")["share"].to_list() == [None]
    assert one["share"].sum() == pytest.approx(100)
    with pytest.raises(NotComputable, match="same"):
        variance.variance_crossed(grid().with_columns(pl.lit(1.0).alias("delta")))


@pytest.mark.parametrize("ties", [False, True])
def test_tau_b_equals_scipy(ties: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 4, (9, 4)).astype(float) if ties else rng.normal(size=(9, 4))
    values[rng.random(values.shape) < 0.2] = np.nan
    ours = consistency.tau_b(values)
    for a, b in itertools.combinations(range(4), 2):
        both = ~np.isnan(values[:, [a, b]]).any(axis=1)
        assert ours[a, b] == pytest.approx(stats.kendalltau(values[both, a], values[both, b]).statistic)


@pytest.mark.parametrize(("drop", "ties"), [(0.0, False), (0.3, True)])
def test_consistency_equals_pandas(drop: float, ties: bool) -> None:
    transfer = grid(models=6, drop=drop, ties=ties)
    table = consistency.consistency(transfer)
    assert table.columns == ["axis", "regime", "median", "q1", "q3", "n_sources"]
    frame = transfer.to_pandas()
    frame = frame[frame["regime"] != "MT-ML"]
    frame["cell"] = frame["target_task"] + "/" + frame["target_language"]
    axes = {"model": "model", "family": "model_family", "size": "model_size"}
    for row in table.iter_rows(named=True):
        column = axes[row["axis"]]
        recipient = {"MT-CL": "target_language", "CT-ML": "target_task", "CT-CL": "cell"}[row["regime"]]
        part = frame[frame["regime"] == row["regime"]]
        part = part.groupby([column, "source_task", "source_language", recipient])["delta"].mean().reset_index()
        means = []
        for _, group in part.groupby(["source_task", "source_language"]):
            wide = group.pivot_table(index=recipient, columns=column, values="delta")
            taus = []
            for a, b in itertools.combinations(wide.columns, 2):
                both = wide[[a, b]].dropna()
                if len(both) >= 3:
                    taus.append(stats.kendalltau(both[a].round(9), both[b].round(9)).statistic)
            if np.isfinite(taus).any():
                means.append(np.nanmean(taus))
        expected = pd.Series(means)
        assert row["n_sources"] == len(expected)
        quartiles = [expected.median(), expected.quantile(0.25), expected.quantile(0.75)]
        assert [row["median"], row["q1"], row["q3"]] == pytest.approx(quartiles)


def test_consistency_of_one_model_says_why() -> None:
    with pytest.raises(NotComputable, match="two models"):
        consistency.consistency(grid(models=1))


def test_kendall_w_equals_the_friedman_statistic() -> None:
    """χ²_F = m (n − 1) W, ties included (scipy.stats.friedmanchisquare)."""
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(5, 7)), rng.integers(0, 3, (6, 8)).astype(float)):
        m, n = values.shape
        assert m * (n - 1) * ranking.concordance(values) == pytest.approx(stats.friedmanchisquare(*values.T).statistic)


def test_kendall_w_table() -> None:
    table = ranking.kendall_w(effects(0), permutations=200)
    donors = table.filter(pl.col("kind") == "language", pl.col("role") == "donor").row(0, named=True)
    assert donors["w"] > 0.3
    assert donors["p_value"] == pytest.approx(1 / 201)
    assert donors["n_models"] == 12
    noise = ranking.kendall_w(grid(models=8), permutations=200)
    assert noise["p_value"].max() > 0.05  # type: ignore[operator]
    with pytest.raises(NotComputable, match="two models"):
        ranking.kendall_w(grid(models=1))


def test_permutation_p_is_the_exact_share_for_two_raters() -> None:
    values = np.array([[1.0, 2, 3, 4], [1, 3, 2, 4]])
    every = [ranking.concordance(np.array([values[0], p])) for p in itertools.permutations(values[1])]
    exact = np.mean(np.array(every) >= ranking.concordance(values) - 1e-12)
    assert ranking.permutation_p(values, 4000, 1) == pytest.approx(exact, abs=0.02)


def test_antisymmetric_share() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 40))
    assert asymmetry.antisymmetric_share(a + a.T) == pytest.approx(0)
    assert asymmetry.antisymmetric_share(a - a.T) == pytest.approx(1)
    assert asymmetry.antisymmetric_share(a) == pytest.approx(0.5, abs=0.05)
    assert np.isnan(asymmetry.antisymmetric_share(np.ones((4, 4))))


def test_asymmetry_table_says_what_is_missing() -> None:
    transfer = grid()
    assert asymmetry.asymmetry(transfer)["share"].null_count() == 0
    holes = transfer.filter(~((pl.col("source_language") == "de") & (pl.col("target_language") == "en")))
    table = asymmetry.asymmetry(holes)
    by_name = {row["matrix"]: row for row in table.iter_rows(named=True)}
    assert by_name["language"]["share"] is None
    assert "not complete, 1 of 12" in by_name["language"]["note"]
    assert by_name["task"]["share"] is not None


def test_uriel_distances_equal_scipy() -> None:
    from scipy.spatial.distance import cosine

    for feature, (_, width) in uriel.FEATURES.items():
        vectors = uriel.vectors(feature)
        assert {len(v) for v in vectors.values()} == {width}
        ours = uriel.distances(["de", "en", "zh", "xx"], feature)
        assert ours[0, 1] == pytest.approx(cosine(vectors["de"], vectors["en"]))
        assert np.isnan(ours[:, 3]).all()
    assert uriel.unknown(["de", "pt_BR", "arb_Arab", "cmn", "xx"]) == ["xx"]
    syntax = uriel.distances(["es", "pt", "zh"], "syntax_knn")
    assert syntax[0, 1] < syntax[0, 2]


def test_linguistic_equals_scipy_and_finds_a_planted_effect() -> None:
    transfer = grid(models=1)
    languages = ["de", "en", "fr", "zh"]
    apart = uriel.distances(languages, "syntax_knn")
    at = {name: i for i, name in enumerate(languages)}
    planted = [
        delta - 60 * apart[at[s], at[t]]
        for s, t, delta in transfer.select("source_language", "target_language", "delta").iter_rows()
    ]
    table = linguistic.linguistic(transfer.with_columns(pl.Series("delta", planted)), permutations=100)
    frame = linguistic.pairs(transfer.with_columns(pl.Series("delta", planted))).to_pandas()
    for row in table.iter_rows(named=True):
        part = frame[frame["distance"] == row["distance"]]
        assert row["n_pairs"] == len(part) == 12
        assert row["pearson"] == pytest.approx(part["delta"].corr(part["value"]))
        assert row["spearman"] == pytest.approx(
            stats.spearmanr(part["delta"].round(9), part["value"].round(9)).statistic
        )
    assert table.row(0, named=True)["pearson"] < -0.8


def test_linguistic_reports_unknown_languages() -> None:
    renamed = grid().with_columns(pl.col("source_language", "target_language").replace("zh", "klingon"))
    table = linguistic.linguistic(renamed, permutations=10)
    assert table["unknown_languages"].unique().to_list() == ["klingon"]
    assert table["n_languages"].unique().to_list() == [3]
    nothing = grid().with_columns(pl.concat_str(pl.lit("qq"), "source_language").alias("source_language"))
    with pytest.raises(NotComputable):
        linguistic.linguistic(nothing.filter(pl.col("target_language") == "de"))


def test_mantel_p_is_the_exact_share_of_reorderings() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 5, 5))
    off = ~np.eye(5, dtype=bool)
    observed = np.corrcoef(a[off], b[off])[0, 1]
    every = [np.corrcoef(a[off], b[np.ix_(p, p)][off])[0, 1] for p in itertools.permutations(range(5))]
    exact = np.mean(np.abs(every) >= abs(observed) - 1e-12)
    r, p, n = mantel.correlate(a, b, permutations=3000, seed=1)
    assert r == pytest.approx(observed)
    assert n == 20
    assert p == pytest.approx(exact, abs=0.03)
    assert np.isnan(mantel.correlate(a, np.ones((5, 5)))[0])


def test_curated_vs_translated_equals_scipy() -> None:
    transfer = grid()
    table = curated.curated_vs_translated(transfer, ["a"])
    frame = transfer.to_pandas()
    frame = frame[frame["regime"] == "MT-CL"]
    sides = [
        part.groupby(["model", "source_language"])["delta"].mean().groupby("source_language").mean()
        for part in (frame[frame["target_task"] == "a"], frame[frame["target_task"] != "a"])
    ]
    assert table["spearman"].item() == pytest.approx(stats.spearmanr(*sides).statistic)
    with pytest.raises(NotComputable, match="--curated"):
        curated.curated_vs_translated(transfer)
