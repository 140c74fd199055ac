"""The evaluator as the orchestrator uses it: units in, rows in the store, failures told apart."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, MambaConfig, MambaForCausalLM

from evaluators.evaluator import Evaluator, Settings
from evaluators.forward.profile import forward_flops
from evaluators.items.item import check_supported
from evaluators.subjects.on_base import adapter_on, load_base
from evaluators.subjects.touchstone import Touchstone
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.errors import TaskError
from study.store import schema
from study.store.store import Store
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.support.tiny_models import make_tokenizer, save_model

LANGUAGES = ("en", "de", "fr")


@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    folder = tmp_path_factory.mktemp("tasks")
    for number, language in enumerate(LANGUAGES):
        write_task(folder, f"quiz_{language}", make_docs(10, seed=number))
    broken = [{**doc, "choices": doc["choices"] if i != 3 else None} for i, doc in enumerate(make_docs(5, seed=9))]
    write_task(folder, "quiz_broken", broken)
    empty = [{**doc, "choices": ["a", "" if i == 2 else "c", "b"]} for i, doc in enumerate(make_docs(5, seed=9))]
    write_task(folder, "quiz_empty", empty, target_delimiter="")
    write_task(folder, "quiz_nodata", make_docs(3, seed=1))
    (folder / "quiz_nodata.jsonl").unlink()
    sampling = {"output_type": "generate_until", "generation_kwargs": {"do_sample": True, "temperature": 0.7}}
    write_task(folder, "quiz_sample", make_docs(3, seed=1), doc_to_choice=None, **sampling)
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


@pytest.fixture(scope="module")
def adapters(outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    kinds: dict[str, dict[str, Any]] = {
        "lora": {},
        "rslora": {"use_rslora": True, "r": 8},
        "dora": {"use_dora": True},
        "some": {"target_modules": ["q_proj", "down_proj"], "alpha_pattern": {"q_proj": 32}},
        "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    }
    return {
        name: make_adapter(outspoken_model, folder / name, seed, **lora)
        for seed, (name, lora) in enumerate(kinds.items())
    }


def logits_of(store: Store) -> dict[tuple[str, str, int], list[float]]:
    return {
        (row["score_id"], row["target_language"], row["doc_id"]): row["loglikelihoods"]
        for row in store.items().to_pylist()
    }


def test_rows_have_the_schema_the_counts_and_the_keys(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path, adapters: dict[str, Path]
) -> None:
    store = Store(str(tmp_path))
    adapter = put_adapter(store, adapters["lora"], "a")
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring(limit=7), 300))
    units = [unit_of(Cell("quiz", language), a) for a in (None, adapter) for language in LANGUAGES]
    scored = evaluator.score(units[:3]) + evaluator.score(units[3:])
    assert [result.score_id for result in scored] == [unit.score_id for unit in units]
    assert all(result.ok and result.n_items == 7 and result.tokens > 0 and result.seconds > 0 for result in scored)
    items, scores = store.items(), store.scores()
    assert items.schema.equals(schema.ITEMS.remove_metadata())
    assert scores.schema.equals(schema.SCORES.remove_metadata())
    assert items.num_rows == 6 * 7
    assert scores.num_rows == 6 * 2
    for unit in units:
        rows = [row for row in items.to_pylist() if row["score_id"] == unit.score_id]
        assert len({row["doc_id"] for row in rows}) == len(rows) == 7
        for row in rows + [row for row in scores.to_pylist() if row["score_id"] == unit.score_id]:
            assert {key: row[key] for key in unit.keys()} == unit.keys()  # noqa: SIM118 - a method, not a dict
        for row in rows:
            per_char = [ll / n for ll, n in zip(row["loglikelihoods"], row["option_chars"], strict=True)]
            assert row["pred"] == row["loglikelihoods"].index(max(row["loglikelihoods"]))
            assert row["pred_norm"] == per_char.index(max(per_char))
            assert row["correct"] == (row["pred"] == row["gold"])
            assert row["correct_norm"] == (row["pred_norm"] == row["gold"])
        accuracy = next(r for r in scores.to_pylist() if r["score_id"] == unit.score_id and r["metric"] == "acc")
        assert accuracy["value"] == pytest.approx(sum(row["correct"] for row in rows) / 7)
        assert accuracy["n_items"] == 7


def test_order_of_adapters_does_not_matter_and_the_base_stays(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path, adapters: dict[str, Path]
) -> None:
    found = []
    for number, order in enumerate((list(adapters), list(reversed(adapters)))):
        store = Store(str(tmp_path / str(number)))
        evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring(), 512))
        before = {name: value.clone() for name, value in evaluator._base.state_dict().items()}
        for name in order:
            assert all(
                result.ok
                for result in evaluator.score([unit_of(Cell("quiz", "en"), put_adapter(store, adapters[name], name))])
            )
        assert evaluator.score([unit_of(Cell("quiz", "en"))])[0].ok
        after = evaluator._base.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        found.append(logits_of(store))
    assert found[0].keys() == found[1].keys()
    for key in found[0]:
        assert found[0][key] == pytest.approx(found[1][key], abs=1e-4)
    first_item = [values for (_, _, doc), values in found[0].items() if doc == 0]
    distinct = {tuple(round(value, 2) for value in values) for values in first_item}
    assert len(distinct) == len(adapters) + 1, "each adapter says something else"


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "some", "embedding"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_computes_what_peft_computes(
    kind: str, dtype: str, outspoken_model: Path, adapters: dict[str, Path]
) -> None:
    from peft import PeftModel

    base = load_base(model_of(outspoken_model, dtype))
    tokens = torch.tensor([[5, 17, 33, 90, 41, 7]], device=base.device)
    with torch.no_grad():
        plain = base(tokens).logits
        with adapter_on(base, adapters[kind], Touchstone(base)) as model:
            ours = model(tokens).logits
        assert torch.equal(base(tokens).logits, plain)
        theirs = PeftModel.from_pretrained(base, str(adapters[kind]))(tokens).logits
    assert not torch.allclose(ours, plain, atol=0.1)
    torch.testing.assert_close(ours, theirs, atol=1e-4 if dtype == "float32" else 0, rtol=0)


def test_a_broken_target_is_reported_and_the_others_are_written(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path
) -> None:
    store = Store(str(tmp_path))
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring()))
    languages = ("broken", "empty", "en", "nodata", "sample", "de")
    results = dict(
        zip(languages, evaluator.score([unit_of(Cell("quiz", language)) for language in languages]), strict=True)
    )
    assert [language for language in languages if results[language].ok] == ["en", "de"]
    for language in ("broken", "empty", "nodata", "sample"):
        assert results[language].kind == "bad_data"
        assert results[language].traceback
    assert "option 1 is empty" in str(results["empty"].message)
    assert "at random" in str(results["sample"].message)
    assert {row["target_language"] for row in store.items().to_pylist()} == {"en", "de"}


def test_check_supported_names_what_is_not(quiz: TaskConfig) -> None:
    library = TaskLibrary([quiz], Scoring())
    check_supported(library.load(Cell("quiz", "en")))
    with pytest.raises(TaskError, match="at random"):
        check_supported(library.load(Cell("quiz", "sample")))


def _truncate(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])


def _pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _without_prefix(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    save_file({name.removeprefix("base_model.model."): value for name, value in load_file(weights).items()}, weights)


def _edit(**changes: Any) -> Any:
    def edit(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _pickle,
        _edit(r=8),
        _edit(target_modules=["no_such"]),
        _edit(target_modules=["q_proj"]),
        _edit(init_lora_weights="pissa_niter_4"),
        _edit(lora_alpha=None),
        _edit(r="4"),
        _edit(r=0),
        _edit(rank_pattern={"q_proj": None}),
        _edit(peft_type="POLY"),
        _edit(peft_type="NONE_SUCH"),
        _edit(target_modules=3),
        _edit(task_type="FOO"),
        _without_prefix,
    ],
    ids=str,
)
def test_a_broken_adapter_fails_its_units_and_spares_the_base(
    damage: Any, tmp_path: Path, quiz: TaskConfig, outspoken_model: Path
) -> None:
    store = Store(str(tmp_path / "store"))
    folder = make_adapter(outspoken_model, tmp_path / "adapter", seed=1)
    damage(folder)
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring(limit=3)))
    sound = put_adapter(store, make_adapter(outspoken_model, tmp_path / "sound", seed=2), "sound")  # of its shape
    good = evaluator.score([unit_of(Cell("quiz", "en")), unit_of(Cell("quiz", "en"), sound)])
    names = list(evaluator._base.state_dict())
    bad = evaluator.score(
        [unit_of(Cell("quiz", language), put_adapter(store, folder, "bad")) for language in ("en", "de")]
    )
    assert all(result.ok for result in good)
    assert [(result.ok, result.kind) for result in bad] == [(False, "bad_data")] * 2
    assert list(evaluator._base.state_dict()) == names
    first = logits_of(store)
    evaluator.score([unit_of(Cell("quiz", "en"))])
    assert logits_of(store) == first


def test_numbers_that_are_none_are_a_failure_of_their_own(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path
) -> None:
    broken = tmp_path / "model"
    shutil.copytree(outspoken_model, broken)
    base = AutoModelForCausalLM.from_pretrained(broken)
    base.model.norm.weight.data.fill_(float("nan"))
    save_model(base, broken)
    store = Store(str(tmp_path / "store"))
    (result,) = Evaluator(model_of(broken), store, Settings((quiz,), Scoring(limit=3))).score(
        [unit_of(Cell("quiz", "en"))]
    )
    assert (result.ok, result.kind) == (False, "nan")
    assert store.items().num_rows == 0


def test_a_recurrent_model_falls_back_to_plain_rows(tmp_path: Path, quiz: TaskConfig, harness: Any) -> None:
    """Mamba takes no attention mask: shared rows would let options see one another."""
    model = tmp_path / "mamba"
    vocabulary = make_tokenizer(model, bos=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
        save_model(MambaForCausalLM(MambaConfig(vocab_size=vocabulary, initializer_range=0.2, **sizes)), model)
    store = Store(str(tmp_path / "store"))
    evaluator = Evaluator(model_of(model), store, Settings((quiz,), Scoring(limit=4)))
    unit = unit_of(Cell("quiz", "en"))
    assert evaluator.score([unit])[0].ok
    assert {row["engine"].split()[0] for row in store.scores().to_pylist()} == {"plain"}
    _, samples = harness(model, quiz, "en", Scoring(limit=4))
    for sample in samples:
        ours = logits_of(store)[(unit.score_id, "en", sample["doc_id"])]
        assert ours == pytest.approx([response[0][0] for response in sample["resps"]], abs=1e-3)


def test_a_profile_says_where_the_time_went(
    tmp_path: Path, quiz: TaskConfig, outspoken_model: Path, adapters: dict[str, Path]
) -> None:
    store = Store(str(tmp_path))
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring(limit=4), 300, profile=True))
    unit = put_adapter(store, adapters["lora"], "a")
    assert all(r.ok for r in evaluator.score([unit_of(Cell("quiz", language), unit) for language in ("en", "de")]))
    profile = evaluator._engine.profile
    assert profile is not None
    assert profile.seconds.keys() == {"tokenise", "forward", "head", "write"}
    assert 0 < profile.useful_tokens <= profile.padded_tokens
    body, head = forward_flops(evaluator._base)
    assert head == 2 * evaluator._base.get_output_embeddings().weight.numel()
    assert body * profile.useful_tokens < profile.flops < (body + head) * profile.useful_tokens
    (summary,) = store.files("logs", ".txt")
    assert "tokens/s" in store.read(summary).decode()
    (trace,) = store.files("logs", ".json.gz")
    assert json.loads(gzip.decompress(store.read(trace)))["traceEvents"]
