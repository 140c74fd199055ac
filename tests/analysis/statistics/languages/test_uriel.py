"""Linguistic distances against scipy."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.statistics.languages import uriel


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
