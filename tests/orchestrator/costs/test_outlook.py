"""What a study comes to by its sizes alone."""

from __future__ import annotations

from orchestrator.costs.outlook import outlook
from study.config import StudyConfig
from study.data.sizes import CellSize, Sizes


def test_texts_are_learned_whole_in_chunks() -> None:
    """Six documents of 10,000 tokens; a pair of as many is cut."""
    size = CellSize(items=0, score_tokens=0, examples=6, train_tokens=60_000)
    sizes = Sizes(notes=(), params={"m": 1000}, cells={"all": {"notes/en": size}})

    def tokens(**train: object) -> tuple[int, int]:
        task = {"name": "notes", "train": {"data_files": "notes.jsonl", **train}}
        (row,) = outlook(
            StudyConfig.model_validate(
                {
                    "models": [{"id": "m"}],
                    "tasks": [task],
                    "languages": ["en"],
                    "seeds": [1],
                    "recipe": {"epochs": 1, "max_length": 512},
                }
            ),
            sizes,
        )
        return row.train_tokens, row.padded

    assert tokens(format="text") == (60_000, 118 * 512)  # 510 of each text's tokens in a chunk
    assert tokens(format="text", limit=3) == (30_000, 59 * 512)
    assert tokens(format="prompt_completion") == (3072, 3072)
