"""Recipes as an axis: what each comes to, which of them cannot be, and that ids are those of one recipe alone."""

from __future__ import annotations

import pytest

from study.config import StudyConfig
from study.config.file import parse
from study.errors import ConfigError
from study.identity import adapter_ids

TEXT = """
models: [{id: a}]
languages: [en, de]
tasks: [{name: arc, lm_eval: "arc_{language}"}, {name: quiz, lm_eval: "quiz_{language}"}]
recipe: {lora: {r: 8, alpha: 16}, epochs: 2}
"""


def study(recipes: str, more: str = "") -> StudyConfig:
    return parse(TEXT + more + f"recipes: {recipes}\n")


def test_each_recipe_is_what_recipe_says_with_its_own_keys_over_it() -> None:
    config = study("{as-it-is: {}, rank4: {lora: {r: 4}}, full: {lora: null, learning_rate: 1e-5}}")
    assert list(config.trained_by) == ["as-it-is", "rank4", "full"]
    assert config.trained_by["as-it-is"] == config.recipe
    lora = config.trained_by["rank4"].lora
    assert lora is not None
    assert (lora.r, lora.alpha, config.trained_by["rank4"].epochs) == (4, 16, 2)
    assert config.trained_by["full"].lora is None
    assert config.trained_by["full"].learning_rate == 1e-5
    assert parse(TEXT).trained_by == {None: config.recipe}
    assert study("{a: {}}").model_validate(config.model_dump(mode="json")).trained_by == config.trained_by
    assert parse(TEXT + "recipes: {a: {}}\n", ["recipes.a.epochs=5"]).trained_by["a"].epochs == 5


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        ("{a: {lora: {rank: 4}}}", ["recipes.a.lora.rank", "unknown key", "use one of", "alpha"]),
        ("{a: {epochs: 0}}", ["recipes.a.epochs", "0", "greater than 0"]),
        ("{a: {}, b: {epochs: 2}}", ["recipes.b", "comes to the same as recipes.a", "leave one of the two out"]),
        ("{a/b: {}}", ["recipes", "folder name"]),
        ("{a: {mixing: {order: reptile}}}", ["recipes.a.mixing.inner_steps", "is required"]),
        ("{a: {}, b: {lora: null, keep_near_base: {l2: 1}}}", ["recipes.b.keep_near_base.l2", "set recipes.b.lora"]),
        ("{a: {max_steps: 0}}", ["recipes.a.max_steps", "greater than 0"]),
        ("{a: {score_epochs: all, max_steps: 5}}", ["recipes.a.max_steps", "any epoch", "drop it"]),
        ("{a: {score_epochs: all, mixing: {order: sequential}}}", ["recipes.a.mixing.order", "epochs of each cell"]),
        ("{a: {}, b: {score_epochs: all}}", ["recipes.b", "comes to the same as recipes.a"]),
        ("[a]", ["recipes", "dictionary"]),
    ],
)
def test_a_recipe_that_cannot_be_is_told_by_key_value_and_fix(recipes: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as told:
        study(recipes)
    assert all(word in str(told.value) for word in words), str(told.value)


def test_recipes_beside_a_lambda_hold_out_the_same() -> None:
    compose = (
        "compose: [{name: c, method: sum, lambda: {grid: [0, 1], protocol: source},"
        " terms: [{source: arc/en}, {source: arc/de, weight: lambda}]}]\n"
    )
    study("{a: {}, b: {epochs: 5, validation: {keep: last}}}", compose)
    with pytest.raises(ConfigError, match=r"recipes\.b\.validation.*lambda"):
        study("{a: {}, b: {validation: {seed: 1}}}", compose)
    texts = 'texts: [{name: prose, data: "x/{language}.jsonl"}]\ntargets: [arc/en, prose/en]\n'
    with pytest.raises(ConfigError, match=r"recipes\.b\.validation.*raw text"):
        study("{a: {}, b: {validation: {seed: 1}}}", texts)


def test_an_adapter_is_named_by_what_its_recipe_comes_to() -> None:
    alone = adapter_ids("m", parse(TEXT).recipe)(["x"], 1)
    named = study("{a: {}, b: {epochs: 3}, c: {max_steps: 5}, d: {epochs: 4, score_epochs: all}}").trained_by
    ids = {name: adapter_ids("m", recipe)(["x"], 1) for name, recipe in named.items()}
    assert ids["a"] == alone
    assert len(set(ids.values())) == 4
    assert ids["d"] != adapter_ids("m", named["a"].model_copy(update={"epochs": 4}))(
        ["x"], 1
    )  # which wrote the kept alone
    one = named["a"].model_copy(update={"epochs": 1})
    assert (
        len({adapter_ids("m", one.model_copy(update={"score_epochs": how}))(["x"], 1) for how in ("all", "kept")}) == 1
    )


def test_a_text_may_say_what_all_recipes_do_otherwise() -> None:
    text = "texts: [{name: news, data: a.txt, recipe: {epochs: 1}}]\n"
    config = study("{a: {}, b: {epochs: 7, batch_size: 4}}", text)
    news = next(source for source in config.source_list() if source.task == "news")
    assert [config.recipe_of(news, name).epochs for name in "ab"] == [1, 1]
    assert config.recipe_of(news, "b").batch_size == 4
