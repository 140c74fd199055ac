"""A model whose longest text turns the positions of its whole batch reads each text as if it were alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PretrainedConfig

from adapters.base.positions import turn_of
from evaluators.evaluator import Evaluator, Settings
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, unit_of, write_task
from tests.support import zoo
from tests.support.yardsticks import CELL, by_hand, largest

pytestmark = pytest.mark.processes  # transformers loads DeepSpeed when it saves a model
TURN = 44


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LongRoPE of very different factors, so that a text on the wrong side shows."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
    folder: Path = tmp_path_factory.mktemp("phi3")
    return zoo.make("phi3", folder, rope_parameters=rope, original_max_position_embeddings=TURN)


@pytest.mark.parametrize("batch", [None, 16])
def test_texts_on_both_sides_of_the_turn_are_scored_as_alone(model: Path, batch: int | None, tmp_path: Path) -> None:
    write_task(tmp_path / "tasks", "quiz_en", make_docs(12, seed=5, long=10))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path / "tasks"))
    store, settings = Store(str(tmp_path / "store")), Settings((quiz,), Scoring(), batch or "auto")
    evaluator = Evaluator(model_of(model), store, settings)
    target = evaluator._targets.ready(CELL)
    reach = {owner: row.reach for row in target.rows for owner in row.owner_S.tolist()}
    mixed = [item for item in target.items if len({reach[number] > TURN for number in item.requests}) == 2]
    assert mixed, "some prompts have options on both sides"
    assert evaluator.score([unit_of(CELL)])[0].ok
    ours = [row["loglikelihoods"] for row in sorted(store.items().to_pylist(), key=lambda row: row["doc_id"])]
    assert largest(ours, by_hand(model_of(model), TaskLibrary((quiz,), Scoring()), None)) < 1e-4


@pytest.mark.parametrize(
    ("said", "turn"),
    [
        ({}, None),
        ({"rope_parameters": {"rope_type": "yarn", "original_max_position_embeddings": 64}}, None),
        ({"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 64}}, 64),
        ({"rope_parameters": {"full": {"rope_type": "longrope", "original_max_position_embeddings": 64}}}, 64),
        ({"rope_scaling": {"type": "su"}, "original_max_position_embeddings": 64}, 64),  # code beside older weights
    ],
)
def test_where_a_model_turns_is_read_off_its_config(said: dict[str, Any], turn: int | None) -> None:
    config: Any = SimpleNamespace(**said)
    config.get_text_config = lambda: config
    assert turn_of(config) == turn
    assert turn_of(PretrainedConfig()) is None
