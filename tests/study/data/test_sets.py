"""What is to be fetched for a study: data that lie elsewhere, not files and folders that are here."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.config import TrainOverride
from study.data.sets import far
from study.models.hub import Repository

OWN = TrainOverride[str]()


@pytest.mark.parametrize(
    ("definition", "sets", "addresses"),
    [
        ({"dataset_path": "owner/set", "dataset_name": "en"}, [Repository("owner/set")], []),
        ({"dataset_path": "owner/set", "dataset_kwargs": {"revision": "v1"}}, [Repository("owner/set", "v1")], []),
        ({"dataset_path": "squad"}, [Repository("squad")], []),
        ({"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": ["a.jsonl", "b.jsonl"]}}}, [], []),
        ({"dataset_path": "json", "dataset_kwargs": {"data_files": "https://a/b.jsonl"}}, [], ["https://a/b.jsonl"]),
        (
            {"dataset_path": "csv", "dataset_kwargs": {"data_files": {"test": "hf://datasets/owner/set@v2/test.csv"}}},
            [Repository("owner/set", "v2")],
            [],
        ),
        ({"custom_dataset": "dataset.load"}, [], []),
    ],
)
def test_what_a_definition_names(definition: dict[str, object], sets: list[Repository], addresses: list[str]) -> None:
    assert far([(definition, OWN)] * 2) == (sets, addresses)


def test_a_folder_is_here_and_what_is_trained_on_instead_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    other = TrainOverride[str](dataset_path="owner/other", dataset_revision="v3")
    assert far([({"dataset_path": "owner/set"}, other)]) == ([Repository("owner/other", "v3")], [])
