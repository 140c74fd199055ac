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


SIZE = CellSize(items=10, score_tokens=100, examples=40, train_tokens=400)
TASKS = [{"name": "a", "lm_eval": "a_{language}"}]
TERMS = [{"source": "a/en"}, {"source": "a/de", "weight": "lambda"}]


def planned(**more: object) -> tuple[int, int, int, float]:
    """Scores of adapters and of the base, tokens to score, FLOPs of training of two cells and seeds."""
    sizes = Sizes(notes=(), params={"m": 1000}, cells={"all": {"a/en": SIZE, "a/de": SIZE}})
    config = {"models": [{"id": "m"}], "tasks": TASKS, "languages": ["en", "de"], "seeds": [1, 2], **more}
    (row,) = outlook(StudyConfig.model_validate(config), sizes)
    return row.adapter_scores, row.base_scores, row.score_tokens, row.train_flops


def test_choosing_a_lambda_and_searching_weights_is_read_too() -> None:
    """Of 40 rows of a cell 4 are held out, of 10 tokens each; 16 examples of 160 tokens are read 40 times."""
    plain = planned()
    assert plain == (8, 2, 5 * 200, plain[3])
    grid = {"grid": [0, 0.5, 1], "protocol": "target"}
    chosen = planned(compose=[{"name": "c", "method": "sum", "terms": TERMS, "lambda": grid}])
    assert chosen[:3] == (8 + 6 * 4, 2 + 2, 11 * 200 + 7 * 80)
    terms = [{"source": "a/en"}, {"source": "a/{language}", "weight": "lambda"}]
    over = {"name": "c", "for": {"language": "all"}, "method": "sum", "terms": terms}
    other = planned(compose=[over | {"lambda": grid | {"protocol": "other_languages"}}])
    assert other[:3] == (8 + 12 * 2 + 12, 2 + 2, 17 * 200 + 2 * 40 + 12 * 40)  # each in its own language alone
    fixed = planned(compose=[{"name": "c", "method": "sum", "terms": TERMS, "lambda": 0.5}])
    assert fixed[:3] == (8 + 2 * 2, 2, 7 * 200)
    plain_terms = [{"source": "a/en"}, {"source": "a/de"}]
    search = {"search": {"cell": "a/de"}}
    searched = planned(compose=[{"name": "c", "method": "sum", "terms": plain_terms, "weights": search}])
    assert searched[:3] == (*fixed[:2], 7 * 200 + 2 * 40 * 160)


def test_staying_near_the_base_costs_its_prompts() -> None:
    """A quarter of a batch is read for the divergence, and once more by the base, at half of what training costs."""
    near = planned(recipe={"keep_near_base": {"kl": 0.1}})
    assert near[3] / planned()[3] == 1 + 0.25 * 1.5
