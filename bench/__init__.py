"""Measurements behind the speed claims: each prints what it compared, side by side in one run."""
