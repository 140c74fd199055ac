"""Fixtures that several packages' tests share."""

import os

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 would starve its workers beside anything else that runs

from tests.support.tiny_models import tiny_model_dir, tiny_model_no_bos_dir  # noqa: F401
