"""What a store says against a config before anything is planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import status
from orchestrator.prepare import _check_names, check_store, study_file
from study.config.file import parse
from study.errors import ConfigError
from study.store.layout import STUDY_FILE
from study.store.store import Store
from study.store.study_file import write_study
from tests.orchestrator.planning.test_plan import TEXT, grid_of, trained


def test_a_renamed_model_is_told_its_name(tmp_path: Path) -> None:
    """By study.yaml, or by its adapters' folders where the last config did not have it."""
    config, store = parse(TEXT), Store(str(tmp_path))
    grid = grid_of(config)
    here = trained(grid)
    _check_names(store, grid, here)
    names = {"a": "new", "b": "b"}
    models = tuple(replace(model, name=names[model.name]) for model in grid.models)
    adapters = tuple(replace(unit, model=names[unit.model]) for unit in grid.adapters)
    renamed = replace(grid, models=models, adapters=adapters)
    with pytest.raises(ConfigError, match=r"models\[0\].name = 'new': this store knows the model as a\n.*`name: a`"):
        _check_names(store, renamed, here)
    write_study(store, study_file(config, grid))
    _check_names(store, grid, {})
    with pytest.raises(ConfigError, match="knows the model as a"):
        _check_names(store, renamed, {})


@pytest.mark.parametrize("text", ["", "study: x", "{", "[]"])
def test_a_damaged_study_file_is_a_clear_error(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path))
    assert status.main([store.uri]) == 2
    assert "holds no study" in capsys.readouterr().err
    store.write(STUDY_FILE, text.encode())
    with pytest.raises(ConfigError, match=r"damaged file.*study.yaml.*\n.*study.check"):
        check_store(store, parse(TEXT), dry_run=True)
    assert status.main([store.uri]) == 2
    assert f"python -m study.check {store.uri} --repair" in capsys.readouterr().err
