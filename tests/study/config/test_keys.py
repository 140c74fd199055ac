"""The config: strict parsing, overrides, and one clear message for every kind of bad input."""

from __future__ import annotations

import pytest

from study.cells import Cell
from study.config.file import load, parse
from study.config.texts import TextConfig
from study.errors import ConfigError

SUM = "compose=[{name: a, method: sum, terms: [{source: arc/en}, {source: mmlu/en}]}]"
PACKING = "training.packing=true"
AGAIN = ["training={gradient_checkpointing: true}"]
BASE = """
models: [{id: some/model}]
languages: [en, de]
tasks: [{name: arc, lm_eval: "arc_{language}"}, {name: mmlu, lm_eval: {en: mmlu_en}}]
"""


def complaint(text: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, overrides)
    return caught.value


def test_defaults_are_those_of_the_contract() -> None:
    config = parse(BASE)
    assert config.seeds == (17, 42, 101)
    assert (config.recipe.lora.r, config.recipe.lora.alpha, config.recipe.learning_rate) == (32, 64, 5e-5)
    assert config.training.deepspeed == {"zero_optimization": {"stage": 2}}
    assert (config.failures.node_lost, config.failures.out_of_memory, config.failures.transient) == (20, 4, 5)


def test_a_table_leaves_out_the_cells_it_does_not_name() -> None:
    assert parse(BASE).cells() == [Cell("arc", "en"), Cell("arc", "de"), Cell("mmlu", "en")]


def test_targets_are_listed_without_going_through_all_tasks_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks were made anew from all texts, and gone through, for each cell: quadratic."""
    tasks = "\n".join(f"  - {{name: t{i}, lm_eval: 't{i}_{{language}}'}}" for i in range(50))
    texts = "\n".join(f"  - {{name: x{i}, data: x.txt}}" for i in range(50))
    config = parse(f"models: [{{id: m}}]\nlanguages: [en, de]\ntasks:\n{tasks}\ntexts:\n{texts}")
    made: list[str] = []
    as_task = TextConfig.as_task
    monkeypatch.setattr(TextConfig, "as_task", lambda text: made.append(text.name) or as_task(text))
    assert len(config.target_list()) == 100
    assert len(made) <= 50 + 100  # once for the list, and for each cell of its own
    assert {config.task(name).name for name in ("t7", "x7")} == {"t7", "x7"}
    assert config.limited(3).task("t7").train.limit == 3


def test_a_list_of_lists_trains_one_adapter_on_several_cells() -> None:
    (source,) = parse(BASE + "sources: [[arc/en, arc/de]]").source_list()
    assert (source.task, source.language) == ("arc", "en+de")


def test_samples_stand_behind_the_cells_that_are_listed_alone() -> None:
    text = BASE.replace('"arc_{language}"', '"arc_{language}", train: {sizes: [50, 20]}')
    text += "texts: [{name: prose, data: {en: prose.jsonl}, sizes: [7]}]\n"
    assert [str(one) for one in parse(text).source_list()] == [
        *("arc/en", "arc/de", "mmlu/en", "prose/en", "arc/en@20", "arc/en@50", "arc/de@20", "arc/de@50", "prose/en@7")
    ]
    listed = parse(text + "sources: [arc/de, [arc/en, arc/de], mmlu/en]").source_list()
    assert [str(one) for one in listed] == ["arc/de", "arc/en+arc/de", "mmlu/en", "arc/de@20", "arc/de@50"]
    assert complaint(text.replace("50, 20", "20, 20")).key == "tasks[arc].train.sizes"
    assert complaint(text + "sources: [[arc/en, arc/de], prose/en]\n").key == "tasks[arc].train.sizes"


@pytest.mark.parametrize(
    ("text", "overrides", "key", "says"),
    [
        (BASE + "recipe: {epoch: 3}", [], "recipe.epoch", "`epochs`"),
        (BASE + "stor: x", [], "stor", "`store`"),
        (BASE + "store: ''", [], "store", "names no place"),
        (BASE, ["recipe.lora.rank=8"], "recipe.lora.rank", "unknown key"),
        (BASE, ["recipe.max-length=8"], "recipe.max-length", "unknown key"),
        (BASE, ["tasks[0]=8"], "tasks[0]", "unknown key"),
        (BASE, ["recipe.epochs=three"], "recipe.epochs", "integer"),
        (BASE, ["recipe.epochs=2.5"], "recipe.epochs", "integer"),
        (BASE, ["recipe.epochs=0"], "recipe.epochs", "greater than 0"),
        (BASE, ["recipe.learning_rate=true"], "recipe.learning_rate", "number"),
        (BASE, ["recipe.learning_rate=.nan"], "recipe.learning_rate", "finite"),
        (BASE, ["recipe.schedule=step"], "recipe.schedule", "linear"),
        (BASE, ["training.gang_size=0"], "training.gang_size", "greater than 0"),
        (BASE, ["models.0.dtype=int4"], "models[0].dtype", "bfloat16"),
        (BASE, ["models.3.dtype=int4"], "--set", "use 0 to 0"),
        (BASE, ["recipe.epochs"], "--set", "key=value"),
        (BASE, ["languages=[no]"], "languages[0]", "quotes"),
        (BASE, ["languages=[]"], "languages", "at least 1"),
        (BASE, ["languages=[en, en]"], "languages", "more than once"),
        (BASE, ["languages=[../x]"], "languages[0]", "folder name"),
        (BASE, ["sources=[arc/fr]"], "sources", "no such cell"),
        (BASE, ["sources=[arc]"], "sources", "task/language"),
        (BASE, ["sources=[]"], "sources", "grid is empty"),
        (BASE, ["targets=[]"], "targets", "grid is empty"),
        (BASE, ["targets=[boolq/en]"], "targets", "no such cell"),
        (BASE, ["tasks.0.lm_eval=arc"], "tasks[0].lm_eval", "{language}"),
        (BASE, ["tasks.1.lm_eval={fr: x}"], "tasks[mmlu].lm_eval", "not among"),
        (BASE, ["tasks.1.train.split={fr: x}"], "tasks[mmlu].train.split", "not among"),
        (BASE, ["tasks.1.train.split={en: 3}"], "tasks[1].train.split.en", "string"),
        (BASE, ["tasks.1.train.dataset_revision=x"], "tasks[1].train", "set dataset_path too"),
        (BASE, ["tasks.1.train={data_files: a.csv, dataset_revision: x}"], "tasks[1].train", "leave it out"),
        (BASE, ["tasks.1.train={data_files: a.csv, format: text, loss_on: all}"], "tasks[1].train", "leave it out"),
        (BASE, ["tasks.1.train.sizes=[0]"], "tasks[1].train.sizes[0]", "greater than 0"),
        (BASE, ["tasks.0.train.rows_of={de: fr}"], "tasks[arc].train.rows_of", "no language that the task is in"),
        (
            BASE,
            ["tasks.0.train.rows_of={de: en, en: de}"],
            "tasks[arc].train.rows_of",
            "another language's rows itself",
        ),
        (BASE, ["tasks.0.train={rows_of: {de: en}, manifest: a}"], "tasks[arc].train.rows_of", "train.manifest"),
        (BASE, ["recipe.validation.mean=row"], "recipe.validation.mean", "'token' or 'batch'"),
        (BASE, ["tasks.1.train.truncation=middle"], "tasks[1].train.truncation", "'left' or 'right'"),
        (BASE, ["recipe.validation.split=half"], "recipe.validation.split", "'floor' or 'datasets'"),
        (BASE, ["recipe.lora.start=same"], "recipe.lora.start", "'own' or 'shared'"),
        (BASE, ["recipe.kind=qlora"], "recipe.kind", "'lora', 'dora', 'ia3'"),
        (BASE, ["recipe.ia3.rank=3"], "recipe.ia3.rank", "unknown key"),
        (
            BASE,
            ["recipe={kind: prompt_tuning, prompt_tuning: {num_virtual_tokens: 0}}"],
            "recipe.prompt_tuning.num_virtual_tokens",
            "greater than 0",
        ),
        (BASE, ["recipe={kind: ia3, keep_near_base: {l2: 1}}"], "recipe.keep_near_base.l2", "recipe.kind is ia3"),
        (BASE, ["recipe.kind=dora", "recipe.lora=null"], "recipe.lora", "how a dora is made"),
        (BASE, ["recipe.kind=dora", "recipe.lora.init=pissa"], "recipe.lora.init", "magnitudes"),
        (BASE, ["recipe.lora={init: olora, start: shared}"], "recipe.lora.start", "begin alike"),
        (BASE, ["recipe.lora.lr_ratio=1"], "recipe.lora.lr_ratio", "one rate"),
        (BASE, ["recipe.lora.lr_ratio=0"], "recipe.lora.lr_ratio", "greater than 0"),
        (BASE, ["recipe.kind=dora", "recipe.keep_near_base.l2=1"], "recipe.keep_near_base.l2", "recipe.kind is dora"),
        (
            BASE,
            ["recipe.kind=dora", SUM],
            "compose",
            "recipe.kind is dora",
        ),
        (
            BASE,
            ["recipe.mixing.weights=rows"],
            "recipe.mixing.weights",
            "'size' or 'uniform', or input should be a map",
        ),
        (BASE, [PACKING, "recipe.kind=prefix_tuning"], "training.packing", "recipe.kind is prefix_tuning"),
        (BASE, ["recipes={p: {kind: prompt_tuning}}", PACKING], "training.packing", "recipes.p.kind is prompt_tuning"),
        (BASE, [*AGAIN, "recipe.kind=ia3"], "training.gradient_checkpointing", "recipe is IA3"),
        (BASE, [*AGAIN, "recipe.kind=prefix_tuning"], "training.gradient_checkpointing", "recipe is prefix tuning"),
        (BASE, ["recipe.mixing.weights={temperature: 0}"], "recipe.mixing.weights.temperature", "greater than 0"),
        (BASE, ["recipe.mixing.order=reptile"], "recipe.mixing.inner_steps", "required where the order is reptile"),
        (BASE, ["recipe.mixing={order: reptile, inner_steps: 4}"], "recipe.mixing.outer_rate", "required"),
        (BASE, ["recipe.mixing.outer_rate=0.5"], "recipe.mixing.outer_rate", "where the order is mixed"),
        (BASE, ["recipe.mixing={order: sequential, weights: uniform}"], "recipe.mixing.weights", "sequential"),
        (BASE, ["recipe.keep_near_base.kl=-1"], "recipe.keep_near_base.kl", "greater than or equal to 0"),
        (BASE, ["recipe.keep_near_base.kl_batch=2"], "recipe.keep_near_base.kl_batch", "where kl is 0"),
        (BASE, ["recipe.keep_near_base.l2=1", "recipe.lora=null"], "recipe.keep_near_base.l2", "all weights"),
        (BASE, ["recipe.keep_near_base.kl=1", "sources=[[arc/en, mmlu/en]]"], "recipe.keep_near_base.kl", "add a task"),
        (BASE, ["seeds=[1, 1]"], "seeds", "more than once"),
        (BASE + "languages: [en]", [], "languages", "twice"),
        ("models: [{id: a}]", [], "languages", "required"),
        ("- a list", [], "CONFIG", "mapping"),
        ("a: [", [], "CONFIG", "not valid YAML"),
    ],
)
def test_bad_input_names_key_problem_and_fix(text: str, overrides: list[str], key: str, says: str) -> None:
    error = complaint(text, *overrides)
    assert error.key == key
    assert says in str(error)
    assert "fix: " in str(error)


def test_numbers_as_yaml_1_1_misreads_them() -> None:
    assert parse(BASE, ["recipe.learning_rate=5e-5"]).recipe.learning_rate == 5e-5


def test_set_reaches_into_lists_and_absent_sections() -> None:
    config = parse(BASE, ["models.0.dtype=float32", "recipe.lora.r=4", "training={resources_per_worker: {CPU: 1}}"])
    assert (config.models[0].dtype, config.recipe.lora.r, config.training.resources_per_worker) == (
        "float32",
        4,
        {"CPU": 1},
    )


def test_limit_bounds_items_and_examples_and_marks_the_run() -> None:
    config = parse(BASE, limit=8)
    assert config.scoring.limit == 8
    assert {task.train.limit for task in config.tasks} == {8}
    assert config.trial_run
    assert parse(BASE).limited(8) == config
    with pytest.raises(ConfigError, match="--limit = '0'"):
        parse(BASE, limit=0)


def test_the_mark_of_a_trial_run_is_no_key_of_a_users_file() -> None:
    for text, overrides in ((BASE + "\ntrial_run: true\n", []), (BASE, ["trial_run=true"])):
        with pytest.raises(ConfigError, match=r"trial_run = 'True': unknown key\n.*--limit N"):
            parse(text, overrides)


def test_a_config_that_cannot_be_read(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(f"{tmp_path}/none.yaml")


def test_sources_that_the_results_could_not_tell_apart_are_refused() -> None:
    text = """
models: [{id: a}]
languages: [en, de]
tasks: [{name: arc, lm_eval: "arc_{language}"}, {name: xnli, lm_eval: "xnli_{language}"}]
sources: [[arc/en, arc/de, xnli/en], [arc/en, arc/de, xnli/de]]
"""
    with pytest.raises(ConfigError, match=r"called arc\+xnli in en\+de in the results, as arc/en\+arc/de\+xnli/en is"):
        parse(text)
