"""Fixtures that several packages' tests share."""

from tests.tiny_models import tiny_model_dir, tiny_model_no_bos_dir  # noqa: F401
