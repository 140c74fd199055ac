"""Requests made elsewhere score as those made in the process, and are not used where documents differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evaluators.evaluator import Evaluator, Settings
from evaluators.items.encoder import encoder_of
from evaluators.items.tokenised import tokenised
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, unit_of, write_task
from tests.evaluators.test_texts import ROLLING, WRITING

LANGUAGES = ("choice", "rolling", "writing")


@pytest.fixture
def quiz(tmp_path: Path) -> TaskConfig:
    docs = make_docs(6, seed=2, long=200)
    for language, changes in zip(LANGUAGES, ({}, ROLLING, WRITING), strict=True):
        write_task(tmp_path / "tasks", f"quiz_{language}", docs, **changes)
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path / "tasks"))


def tables(quiz: TaskConfig, model: Path) -> dict[Cell, pa.Table]:
    """As another process sees them: through Arrow's own format."""
    library, encoder = TaskLibrary([quiz], Scoring()), encoder_of(model_of(model))
    found = {}
    for language in LANGUAGES:
        _, table = tokenised(library, encoder, Cell("quiz", language))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        found[Cell("quiz", language)] = pa.ipc.open_stream(sink.getvalue()).read_all()
    return found


def items(store: Store) -> list[dict[str, Any]]:
    rows = [{key: value for key, value in row.items() if key != "written_at"} for row in store.items().to_pylist()]
    return sorted(rows, key=lambda row: (row["target_language"], row["doc_id"]))


def scored(folder: Path, quiz: TaskConfig, model: Path, shared: dict[Cell, pa.Table]) -> Store:
    store = Store(str(folder))
    evaluator = Evaluator(model_of(model), store, Settings((quiz,), Scoring()), shared.get)
    results = evaluator.score([unit_of(Cell("quiz", language)) for language in LANGUAGES])
    assert all(result.ok for result in results), [result.traceback for result in results]
    return store


def test_requests_made_elsewhere_score_as_own_ones(tmp_path: Path, quiz: TaskConfig, outspoken_model: Path) -> None:
    shared = tables(quiz, outspoken_model)
    own = scored(tmp_path / "own", quiz, outspoken_model, {})
    theirs = scored(tmp_path / "theirs", quiz, outspoken_model, shared)
    assert items(theirs) == items(own)
    assert {row["metric"]: row["value"] for row in theirs.scores().to_pylist()} == {
        row["metric"]: row["value"] for row in own.scores().to_pylist()
    }
    cell = Cell("quiz", "choice")  # what the table says is what counts: nothing is made a second time
    table = shared[cell]
    gold = pa.array([(row + 1) % 4 for row in table.column("gold").to_pylist()], pa.int32())
    shared[cell] = table.set_column(table.schema.get_field_index("gold"), "gold", gold)
    changed = items(scored(tmp_path / "changed", quiz, outspoken_model, shared))
    assert [row["gold"] for row in changed if row["target_language"] == "choice"] == gold.to_pylist()


def test_requests_of_other_documents_are_not_used(tmp_path: Path, quiz: TaskConfig, outspoken_model: Path) -> None:
    shared = tables(quiz, outspoken_model)
    write_task(tmp_path / "tasks", "quiz_choice", make_docs(7, seed=5))
    own = scored(tmp_path / "own", quiz, outspoken_model, {})
    assert items(scored(tmp_path / "theirs", quiz, outspoken_model, shared)) == items(own)


def test_models_share_requests_exactly_where_their_tokens_are_the_same(
    outspoken_model: Path, outspoken_no_bos_model: Path, tiny_model_dir: Path
) -> None:
    with_bos, without, other = (
        encoder_of(model_of(path)).identity for path in (outspoken_model, outspoken_no_bos_model, tiny_model_dir)
    )
    assert with_bos == other  # other weights, the same tokenizer
    assert with_bos != without


def test_a_template_that_writes_todays_date_writes_the_same_one_on_every_day(outspoken_model: Path) -> None:
    encoder = encoder_of(model_of(outspoken_model))
    encoder.tokenizer.chat_template = "Today is {{ strftime_now('%d %b %Y') }}. {{ messages[0]['content'] }}"
    assert encoder.apply_chat_template([{"role": "user", "content": "Who?"}]) == "Today is 26 Jul 2024. Who?"
