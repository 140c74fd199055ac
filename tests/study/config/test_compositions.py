"""Combinations in a config: what an entry comes to, and a line for each way to write one wrong."""

from __future__ import annotations

import pytest

from study.cells import Cell
from study.config import StudyConfig
from study.config.expansion import cells_used, chosen_on, combinations, held_out, learned, searched
from study.config.file import parse
from study.errors import ConfigError

BASE = """
models: [{id: some/model}]
languages: [en, de, fr]
tasks: [{name: arc, lm_eval: "arc_{language}"}, {name: quiz, lm_eval: "quiz_{language}"}]
texts: [{name: prose, data: "{language}.jsonl"}]
sources: [arc/en]
adapters: [{name: lent, model: some/model, path: ./lent}]
"""
ADD = """{name: add, for: {language: [de, fr]}, method: sum, lambda: {grid: [0.5, 1], protocol: other_languages},
 terms: [{source: arc/en, weight: 1-lambda}, {source: "prose/{language}", weight: 0.5*lambda}]}"""


def test_an_entry_comes_to_a_combination_per_language_whose_parts_are_trained_too() -> None:
    config = parse(BASE + f"compose: [{ADD}]")
    assert [(one.name, [str(part) for part in one.parts]) for one in combinations(config)] == [
        ("add[de]", ["arc/en", "prose/de"]),
        ("add[fr]", ["arc/en", "prose/fr"]),
    ]
    assert held_out(config.limited(8)) == []  # of so few rows training holds out none
    assert [term.line for term in config.compose[0].terms] == [(1.0, -1.0), (0.0, 0.5)]
    assert [str(source) for source in config.source_list()] == ["arc/en"]
    assert [str(source) for source in learned(config)] == ["arc/en", "prose/de", "prose/fr"]
    told = [f"{cell} (held out)" for cell in config.target_list() if cell.language in ("de", "fr")]
    assert [str(cell) for cell in held_out(config)] == told
    assert chosen_on(config)["add[de]"] == {Cell("arc", "de"), Cell("quiz", "de")}
    assert StudyConfig.model_validate(config.model_dump(mode="json")) == config  # as study.yaml has it


def test_of_a_lambda_that_is_fixed_nothing_is_held_out_and_by_source_the_cells_of_the_terms() -> None:
    fixed = ADD.replace("{grid: [0.5, 1], protocol: other_languages}", "0.5")
    assert held_out(parse(BASE + f"compose: [{fixed}]")) == []
    by_source = ADD.replace("other_languages", "source")
    assert held_out(parse(BASE + f"compose: [{by_source}]")) == [Cell("arc", "en", held_out=True)]


def test_for_all_languages_and_tasks_names_both() -> None:
    terms = "terms: [{source: '{task}/{language}'}]"
    text = f"compose: [{{name: a, for: {{task: [arc, quiz], language: all}}, method: sum, {terms}}}]"
    names = [one.name for one in combinations(parse(BASE + text))]
    assert names == [f"a[{task}/{language}]" for task in ("arc", "quiz") for language in ("en", "de", "fr")]


def test_a_name_with_marks_is_filled_in_and_its_languages_choose_for_one_another() -> None:
    named = ADD.replace("name: add", "name: 'to-{language}'")
    config = parse(BASE + f"compose: [{named}]")
    found = [(one.name, one.family) for one in combinations(config)]
    assert found == [("to-de", "to-{language}"), ("to-fr", "to-{language}")]
    assert chosen_on(config)["to-de"] == {Cell("arc", "de"), Cell("quiz", "de")}  # by which the other one chooses
    over, terms = "for: {task: [arc, quiz], language: [en, de]}", "terms: [{source: '{task}/{language}'}]"
    text = f"compose: [{{name: 'x.{{task}}', {over}, method: sum, {terms}}}]"
    names = [one.name for one in combinations(parse(BASE + text))]
    assert names == [f"x.{task}[{language}]" for task in ("arc", "quiz") for language in ("en", "de")]
    alone = "{name: 'to-{language}', method: sum, terms: [{source: arc/en}]}"
    with pytest.raises(ConfigError, match="stands for nothing"):
        parse(BASE + f"compose: [{alone}]")
    two = f"{alone.replace('method', 'for: {language: [de]}, method')}, {alone.replace('to-{language}', 'to-de')}"
    with pytest.raises(ConfigError, match=r"is the name of compose\[0\] too"):
        parse(BASE + f"compose: [{two}]")


def test_weights_are_searched_on_a_cell_of_its_own_in_each_expansion() -> None:
    search = "weights: {search: {cell: 'arc/{language}', examples: 4}}"
    text = f"compose: [{{name: hub, for: {{language: [de]}}, method: sum, {search},"
    config = parse(BASE + text + " terms: [{source: arc/en}, {source: quiz/fr}]}]")
    (one,) = combinations(config)
    assert (one.cell, searched(config)) == (Cell("arc", "de"), [(Cell("arc", "de"), 4)])
    assert Cell("arc", "de") in cells_used(config)
    with pytest.raises(ConfigError, match="leave out lambda, and the weights"):
        parse(BASE + text + " terms: [{source: arc/en, weight: 2}]}]")
    with pytest.raises(ConfigError, match=r"search\.cell = 'arc/es'"):
        parse(BASE + text.replace("{language}'", "es'") + " terms: [{source: arc/en}]}]")


@pytest.mark.parametrize(
    ("entry", "key", "said"),
    [
        ("{name: a, method: sum, terms: [{source: arc/es}]}", "compose[0].terms[0].source", "no such cell"),
        ("{name: a, method: sum, terms: [{source: 'arc/{language}'}]}", "compose[0].terms[0]", "stands for nothing"),
        ("{name: a, method: sum, terms: [{adapter: other}]}", "compose[0].terms[0].adapter", "no adapter"),
        ("{name: a, method: sum, terms: [{source: arc/en, adapter: lent}]}", "compose[0].terms[0]", "one of"),
        (
            "{name: a, method: sum, terms: [{source: arc/en, weight: 2lambda}]}",
            "compose[0].terms[0].weight",
            "no weight",
        ),
        ("{name: a, method: sum, terms: [{source: arc/en, weight: lambda}]}", "compose[0]", "set it"),
        ("{name: a, method: sum, lambda: 1, terms: [{source: arc/en}]}", "compose[0]", "no weight names it"),
        ("{name: a, method: sum, density: 0.2, terms: [{source: arc/en}]}", "compose[0]", "density is of"),
        ("{name: a, method: ties, terms: [{source: arc/en}]}", "compose[0]", "needs density"),
        ("{name: a, method: svd, terms: [{source: arc/en}]}", "compose[0]", "needs rank"),
        ("{name: a, method: svd, rank: full, terms: [{source: arc/en}]}", "compose[0].rank", "it is the sum"),
        (
            "{name: a, method: arrow, terms: [{source: arc/en}, {source: arc/de, weight: 0.5}]}",
            "compose[0].terms[1].weight",
            "arrow weighs its parts itself",
        ),
        (
            "{name: a, for: {language: [en]}, method: arrow, terms: [{source: arc/en}, {source: 'arc/{language}'}]}",
            "compose[0].terms[1]",
            "is in a[en] twice",
        ),
        (
            "{name: a, method: sum, lambda: {grid: [1], protocol: source},"
            " terms: [{source: prose/en, weight: lambda}]}",
            "compose[0].lambda.protocol",
            "no lambda is chosen for any target",
        ),
        ("{name: a, method: adamergex, lambda: 1, terms: [{source: arc/en, role: task}]}", "compose[0]", "three terms"),
        ("{name: a, method: layers, terms: [{source: arc/en}]}", "compose[0]", "says which"),
        (
            "{name: a, for: {language: [es]}, method: sum, terms: [{source: arc/en}]}",
            "compose[0].for.language",
            "not in",
        ),
        ("{name: lent, method: sum, terms: [{source: arc/en}]}", "compose[0].name", "name of adapters[0]"),
        ("{name: a, method: mean, terms: [{source: arc/en}]}", "compose[0].method", "should be"),
        ("{name: a, method: sum, terms: []}", "compose[0].terms", "at least 1"),
        (
            "{name: a, method: sum, lambda: {grid: [1, 1]}, terms: [{source: arc/en, weight: lambda}]}",
            "compose[0]",
            "twice",
        ),
        (
            "{name: a, for: {language: [de]}, method: sum, lambda: {grid: [1]},"
            " terms: [{source: arc/en, weight: lambda}]}",
            "compose[0]",
            "`for` has one",
        ),
        (
            "{name: a, method: sum, lambda: test, terms: [{source: arc/en, weight: lambda}]}",
            "compose[0].lambda",
            "a mapping with keys grid, protocol",
        ),
        ("{name: a, for: {lang: [de]}, method: sum, terms: [{source: arc/en}]}", "compose[0].for.lang", "`language`"),
        (
            "{name: a, method: sum, weights: {search: {cell: prose/de}}, terms: [{source: arc/en}]}",
            "compose[0].weights.search.cell",
            "learned from only",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_line(entry: str, key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(BASE + f"compose: [{entry}]")
    assert caught.value.key == key
    assert said in str(caught.value)


def test_a_combination_of_a_combination_and_of_whole_models_are_refused() -> None:
    second = "{name: b, method: sum, terms: [{adapter: 'add[de]'}]}"
    with pytest.raises(ConfigError, match="not combinations"):
        parse(BASE + f"compose: [{ADD}, {second}]")
    with pytest.raises(ConfigError, match="is of LoRA adapters"):
        parse(BASE + f"compose: [{ADD}]\nrecipe: {{lora: null}}")
    with pytest.raises(ConfigError, match="folder of composed adapters"):
        parse(BASE.replace("quiz", "composed"))


@pytest.mark.parametrize(
    ("keys", "fix"),
    [
        ("for: {language: all}, method: sum, lambda: {grid: [1]}", "in other languages of `for` too"),
        ("method: sum, lambda: {grid: [1]}", "in other languages of `for` too"),
        ("method: sum, lambda: {grid: [1], protocol: source}", "a cell of the terms too"),
    ],
)
def test_a_lambda_that_nothing_scored_would_choose_is_refused(keys: str, fix: str) -> None:
    """A study of one language, and one that does not score what it learns from."""
    terms = "terms: [{source: quiz/en}, {source: prose/en, weight: lambda}]"
    text = BASE.replace("[en, de, fr]", "[en]").replace("[arc/en]", "[arc/en]\ntargets: [arc/en]")
    with pytest.raises(ConfigError, match="no lambda is chosen for any target") as caught:
        parse(text + f"compose: [{{name: a, {keys}, {terms}}}]")
    assert caught.value.key == "compose[0].lambda.protocol"
    assert fix in caught.value.fix
    few = keys.replace("[1]}", "[1], protocol: target}").replace("source", "target")
    assert held_out(parse(text + f"compose: [{{name: a, {few}, {terms}}}]")) == [Cell("arc", "en", held_out=True)]
