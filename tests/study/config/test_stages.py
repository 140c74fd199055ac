"""Stages of the config: what they name, and what is said where they cannot be."""

from __future__ import annotations

import pytest

from study.cells import Source
from study.config import StudyConfig
from study.config.expansion import combinations, learned
from study.config.file import parse
from study.errors import ConfigError

TEXT = """
models: [{id: m}]
languages: [de, en]
tasks: [{name: a, lm_eval: "a_{language}"}, {name: b, lm_eval: "b_{language}", train: {sizes: [5]}}]
adapters: [{name: chat, model: m, path: /chat}]
"""
CHAIN = "b/de, {name: last, cells: [a/de, a/en], start_from: mid}, {name: mid, cells: b/de, start_from: [a/en, b/en]}"


def config(sources: str, more: str = "") -> StudyConfig:
    return parse(f"{TEXT}sources: [{sources}]\n{more}")


def test_a_stage_is_a_source_of_its_own_and_comes_after_what_it_begins_with() -> None:
    found = config(CHAIN)
    plain, last, mid, sample = found.source_list()
    assert [str(one) for one in (plain, last, mid, sample)] == ["b/de", "a/de+a/en@last", "b/de@mid", "b/de@5"]
    assert (last.task, last.language, mid.task, mid.names) == ("a@last", "de+en", "b@mid", ("b/de",))
    assert [str(one) for one in last.line] == ["a/en+b/en", "b/de@mid", "a/de+a/en@last"]
    order = [str(one) for one in learned(found)]
    assert order == ["b/de", "a/en+b/en", "b/de@mid", "a/de+a/en@last", "b/de@5"]
    assert parse(TEXT).source_list() == [one for one in parse(TEXT).source_list() if one.start is None]


def test_a_stage_begins_with_an_adapter_that_exists_and_is_a_term_by_its_name() -> None:
    compose = (
        "compose: [{name: x, method: sum, terms: [{source: talk}, {source: 'to-{language}'}], for: {language: [en]}}]"
    )
    stages = "{name: talk, cells: a/de, start_from: chat}, {name: to-en, cells: a/en, start_from: talk}"
    found = config(stages, compose)
    talk, to_en = found.source_list()
    assert (talk.start, talk.root, to_en.root, to_en.start) == ("chat", "chat", "chat", talk)
    assert combinations(found)[0].parts == (talk, to_en)
    assert Source.of(talk.cells).root is None


@pytest.mark.parametrize(
    ("sources", "key", "problem"),
    [
        ("{name: s, cells: a/de}", "sources[0]", "says nothing beside its cells"),
        ("{name: s, cells: a/de, start_from: a/en, after: 1}", "sources[0].after", "unknown key"),
        ("{name: s, cells: [], start_from: a/en}", "sources[0].cells", "at least 1 item"),
        ("a/en, {name: s, cells: a/de, start_from: b/fr}", "sources[1].start_from", "no such cell"),
        ("{name: s, cells: a/de, start_from: lost}", "sources[0].start_from", "no cell, no stage and no adapter"),
        ("{name: s, cells: a/de, start_from: s}", "sources[0].start_from", "is a circle: s from s"),
        (
            "{name: s, cells: a/de, start_from: t}, {name: t, cells: a/en, start_from: s}",
            "sources[0].start_from",
            "is a circle: s from t from s",
        ),
        (
            "{name: s, cells: a/de, start_from: a/en}, {name: s, cells: b/de, start_from: a/en}",
            "sources[0].name",
            "is the name of sources[1] too",
        ),
        ("{name: chat, cells: a/de, start_from: a/en}", "sources[0].name", "one of `adapters`"),
        ("{name: '7', cells: a/de, start_from: a/en}", "sources[0].name", "like the size of a sample"),
        (
            "{name: s, cells: a/de, start_from: a/en}, {name: t, cells: a/de, start_from: a/en}",
            "sources",
            "comes to the same adapters as a/de@s",
        ),
    ],
)
def test_what_cannot_be_is_said_with_its_key(sources: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(sources)
    assert raised.value.key == key
    assert problem in raised.value.problem


def test_a_stage_needs_adapters_beside_the_base_and_a_name_that_no_combination_has() -> None:
    stage = "a/en, {name: s, cells: a/de, start_from: a/en}"
    with pytest.raises(ConfigError, match=r"recipe\.lora is null"):
        config(stage, "recipe: {lora: null}")
    with pytest.raises(ConfigError, match="is the name of sources too"):
        config(stage, "compose: [{name: s, method: sum, terms: [{source: a/en}, {source: s}]}]")
