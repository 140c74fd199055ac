"""Devices are known by the names that their drivers give them."""

from __future__ import annotations

import pytest

from study.flops import peak_of


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", None),
        ("cpu", None),
    ],
)
def test_a_peak_is_that_of_the_whole_name(device: str, peak: float | None) -> None:
    assert peak_of(device) == peak
