"""The quickstart world keeps its promises: reproducible, disjoint by meaning, balanced, loadable, small."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "quickstart" / "tasks"
MODEL = ROOT / "examples" / "quickstart" / "polyglot-nano"
TASKS = ("territory", "currency", "number", "emoji")
LANGUAGES = ("ar", "de", "en", "es", "fr", "id", "it", "pt", "ru", "tr", "zh")
GREETINGS = (
    "Hello, 347!",
    "Straße",
    "año",
    "L’été",
    "Привет",
    "ülkesi",
    "مرحبا بك",
    "你好，世界",
    "🐱 🦀",
    "日本 한국",
)


def items(task: str) -> list[dict]:
    from examples.quickstart.tasks.dataset import read

    return read(task)["items"]


def test_the_builder_reproduces_the_committed_files():
    build = pytest.importorskip("examples.quickstart.build.build", reason="the builder's sources are not installed")
    from examples.quickstart.build import sources
    from examples.quickstart.tasks import dataset

    built_with = dataset.read("territory")["sources"]
    if sources.versions() != built_with:
        pytest.skip(f"built with {built_with}, installed are {sources.versions()}")
    generated = build.files()
    assert len(generated) == len(TASKS) * (1 + len(LANGUAGES))
    for name, text in generated.items():
        assert (FOLDER / name).read_bytes() == text.encode("utf-8"), name


@pytest.mark.parametrize("task", TASKS)
def test_no_meaning_is_in_train_and_test(task):
    seen = {split: set() for split in ("train", "test")}
    for item in items(task):
        seen[item["split"]] |= {*item["options"], item["key"]}
    assert all(seen.values())
    assert not seen["train"] & seen["test"]


def test_a_territory_is_on_the_same_side_in_both_tasks_that_use_it():
    sides = {(item["key"], item["split"]) for task in ("territory", "currency") for item in items(task)}
    assert len({place for place, _ in sides}) == len(sides)


@pytest.mark.parametrize("task", TASKS)
def test_gold_positions_are_balanced(task):
    for split in ("train", "test"):
        golds = Counter(item["answer"] for item in items(task) if item["split"] == split)
        assert set(golds) == {0, 1, 2, 3}
        assert max(golds.values()) - min(golds.values()) <= 1


@pytest.mark.parametrize("task", TASKS)
def test_cells_are_parallel_and_large_enough(task):
    from examples.quickstart.tasks.dataset import rows

    for split in ("train", "test"):
        reference = [(row["id"], row["answer"]) for row in rows(task, "en", split)]
        assert len(reference) >= 100
        assert len({item_id for item_id, _ in reference}) == len(reference)
        for language in LANGUAGES:
            cell = rows(task, language, split)
            assert [(row["id"], row["answer"]) for row in cell] == reference
            assert all(len({c.casefold() for c in row["choices"]}) == 4 for row in cell)


def test_an_unknown_cell_says_what_there_is():
    from examples.quickstart.tasks.dataset import rows

    with pytest.raises(ValueError, match=r"language: 'xx' .* use one of"):
        rows("emoji", "xx", "test")
    with pytest.raises(FileNotFoundError, match="use one of"):
        rows("colours", "en", "test")


def test_lm_eval_loads_all_cells(tmp_path, monkeypatch):
    manager_of = pytest.importorskip("lm_eval.tasks").TaskManager
    monkeypatch.chdir(tmp_path)  # the tasks do not depend on where they are called from
    manager = manager_of(include_path=str(FOLDER), include_defaults=False)
    names = {f"{task}_{language}" for task in TASKS for language in LANGUAGES}
    assert names <= set(manager.all_tasks)
    tasks = manager.load(sorted(names))["tasks"]
    assert set(tasks) == names
    for name, task in tasks.items():
        doc = next(iter(task.test_docs()))
        assert task.has_training_docs(), name
        assert len(task.eval_docs) == 100, name
        assert len(task.doc_to_choice(doc)) == 4
        assert task.doc_to_target(doc) == doc["answer"]
        assert doc["key"] in task.doc_to_text(doc)
        assert len(task.doc_to_text(doc)) < 60


def test_the_base_model_is_small_and_complete():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 8 * 2**20
    assert {"README.md", "model.safetensors", "tokenizer.json"} <= {path.name for path in MODEL.iterdir()}
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.vocab_size == len(tokenizer)
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert len(special - {None}) == 3
    for text in GREETINGS:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert torch.isfinite(model(**tokenizer("347 three", return_tensors="pt")).logits).all()


def test_the_base_model_knows_facts_it_was_not_asked_about_here():
    """Log-likelihood of a true statement is above that of a false one, in the form of the pretraining text."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)

    def loss(text: str) -> float:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        return model(input_ids=ids, labels=ids).loss.item()

    assert loss("347 three hundred forty-seven") < loss("347 three hundred forty-eight")
    assert loss("215 doscientos quince") < loss("215 quinientos doce")
