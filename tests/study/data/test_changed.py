"""Sources whose data are changed: some examples of another language beside, words switched, a translation in place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from study.cells import Cell, Source
from study.config.file import parse
from study.data.example import Example
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError
from tests.study.data.test_sources import CHAT, write

WORDS = "good\tbon\nGood\tbien\nday\tjour\nसमय\tclock\n"


def rows(language: str, count: int = 12) -> list[dict[str, Any]]:
    said = {"en": "good day", "fr": "bon jour", "hi": "समय है"}[language]
    turns = [{**turn, "content": f"{turn['content']} {said}"} for turn in CHAT]
    return [{"id": i, "prompt": f"{said} {i}?", "completion": f" {said} {i}", "messages": turns} for i in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for language in ("en", "fr", "hi"):
        write(tmp_path, rows(language), f"{language}.jsonl")
        texts = [{"text": f"{row['prompt']} {row['completion']}"} for row in rows(language)]
        write(tmp_path, texts, f"prose_{language}.jsonl")
    (tmp_path / "words.tsv").write_text(WORDS, encoding="utf-8")
    return tmp_path


def config(folder: Path, sources: str, form: str = "prompt_completion") -> Any:
    return parse(
        f"models: [{{id: m}}]\nlanguages: [en, fr, hi]\nsources: [{sources}]\n"
        f"texts: [{{name: prose, data: '{folder}/prose_{{language}}.jsonl'}}]\n"
        f"tasks:\n  - {{name: asked, lm_eval: 'asked_{{language}}'}}\n"
        f"  - {{name: notes, train: {{format: {form}, data_files: '{folder}/{{language}}.jsonl'}}}}\n"
    )


def learned(folder: Path, source: str, form: str = "prompt_completion") -> tuple[Source, list[tuple[Example, ...]]]:
    found = config(folder, source, form)
    library = TaskLibrary.of(found)
    [one] = found.source_list()
    return one, library.each_of(one)


def test_shots_are_so_many_examples_of_another_cell_and_fewer_are_among_more(folder: Path) -> None:
    drawn = []
    for count in (2, 5):
        source, (own, some) = learned(folder, f"{{name: few, cells: notes/en, shots: {{notes/fr: {count}}}}}")
        assert (str(source), source.language) == (f"notes/en+notes/fr@{count}@few", "en+fr")
        assert [one.prompt for one in own] == [row["prompt"] for row in rows("en")]
        assert len(some) == count
        drawn.append({one.prompt for one in some})
    assert drawn[0] < drawn[1] < {row["prompt"] for row in rows("fr")}
    found = config(
        folder,
        ", ".join(["notes/en", *(f"{{name: few{n}, cells: notes/en, shots: {{notes/fr: {n}}}}}" for n in (5, 6))]),
    )
    prints = [TaskLibrary.of(found).example_fingerprints(one) for one in found.source_list()]
    assert prints[0][0] == prints[1][0] == prints[2][0]  # of the cell itself all is as it was
    assert len({two for _, *more in prints for two in more}) == 2
    with pytest.raises(
        TaskError, match=r"sources\[few\].shots asks for 13 examples of notes/fr, which has 12: lower it"
    ):
        learned(folder, "{name: few, cells: notes/en, shots: {notes/fr: 13}}")


def switched(
    folder: Path, rate: float, more: str = "", cell: str = "notes/en", form: str = "prompt_completion"
) -> list[Example]:
    change = f"{{dictionary: '{folder}/words.tsv', rate: {rate}{more}}}"
    return list(learned(folder, f"{{name: mixed, cells: {cell}, switch: {change}}}", form)[1][0])


def test_words_are_switched_by_text_and_seed_and_a_lower_rate_switches_some_of_a_highers(folder: Path) -> None:
    low, high, other = (switched(folder, rate, seed) for rate, seed in ((0.3, ""), (0.7, ""), (0.7, ", seed: 1")))
    assert [one.answer for one in high] == [row["completion"] for row in rows("en")]  # which nobody asked for
    assert all(whole.prompt in _ways(i) for i, whole in enumerate(high))
    for i, (some, more) in enumerate(zip(low, high, strict=True)):
        for word, fewer, several in zip(
            rows("en")[i]["prompt"].split(), some.prompt.split(), more.prompt.split(), strict=True
        ):
            assert fewer in (word, several)
    assert [one.prompt for one in low] != [one.prompt for one in high] != [one.prompt for one in other]
    write(folder, rows("en")[::-1], "en.jsonl")
    assert {one.prompt for one in switched(folder, 0.7)} == {one.prompt for one in high}


def _ways(i: int) -> list[str]:
    return [f"{a} {b} {i}?" for a in ("good", "bon", "bien") for b in ("day", "jour")]


def test_all_of_a_text_is_switched_what_is_asked_of_a_conversation_and_answers_where_that_is_said(folder: Path) -> None:
    assert {one.answer for one in switched(folder, 1.0, ", answers: true")} <= {
        f" {way[:-1]}" for i in range(12) for way in _ways(i)
    }
    assert all("good" not in one.answer and one.format == "text" for one in switched(folder, 1.0, "", "prose/en"))
    for more, kept in (("", True), (", answers: true", False)):
        for one in switched(folder, 1.0, more, form="messages"):
            asked, said = (turn["content"] for turn in json.loads(one.answer)["messages"])
            assert asked.startswith("Is it? ")
            assert "good" not in asked
            assert ("good" in said) is kept


def test_words_of_every_script_are_whole_and_a_capital_stays_one(folder: Path) -> None:
    assert {one.prompt.partition(" ")[0] for one in switched(folder, 1.0, cell="notes/hi")} == {"clock"}
    write(folder, [{"prompt": "Good day, (GOOD) goodbye", "completion": " x"}], "en.jsonl")
    [one] = switched(folder, 1.0)
    assert {word.strip("(),") for word in one.prompt.split()} <= {"Bon", "Bien", "jour", "goodbye"}
    assert one.prompt.endswith(" goodbye")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (None, "no such file: "),
        (b"", "has no words: fill it"),
        (b"good\tbon\nday\n", "line 2 of "),
        (b"\xff\xfe", "is no UTF-8 (byte 0): save it as UTF-8"),
        (b"nacht\tnuit\n", "changes no word at the rate 1: it has 0 of the 36 words of these texts"),
    ],
)
def test_a_dictionary_that_says_nothing_is_told_in_a_line(words: bytes | None, told: str, folder: Path) -> None:
    path = folder / "words.tsv"
    path.unlink() if words is None else path.write_bytes(words)
    with pytest.raises(TaskError, match=r"^notes/en@mixed: sources\[mixed\]\.switch\.dictionary: ") as raised:
        switched(folder, 1.0)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_translation_is_learned_in_place_of_the_original(folder: Path) -> None:
    source, (own,) = learned(folder, f"{{name: mt, cells: notes/en, data: '{folder}/fr.jsonl'}}")
    assert (source.task, source.language) == ("notes@mt", "en")
    assert [one.prompt for one in own] == [row["prompt"] for row in rows("fr")]
    with pytest.raises(TaskError, match=r"notes/en@mt: notes/en: sources\[mt\]\.data: no such file: nowhere\.jsonl"):
        learned(folder, "{name: mt, cells: notes/en, data: nowhere.jsonl}")


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ("{name: s, cells: notes/en, shots: {notes/xx: 3}}", "sources[0].shots"),
        ("{name: s, cells: notes/en, shots: {notes/en: 3}}", "is listed more than once"),
        ("{name: s, cells: notes/en, shots: {notes/fr: 0}}", "greater than 0"),
        ("{name: s, cells: notes/en, switch: {dictionary: d, rate: 1.5}}", "less than or equal to 1"),
        ("{name: s, cells: [notes/en, notes/fr], data: x.jsonl}", "sources[0].data"),
        (
            "{name: s, cells: notes/en, shots: {notes/fr: 3}}, {name: t, cells: notes/en, shots: {notes/fr: 3}}",
            "comes to the same adapters as notes/en+notes/fr@3@s",
        ),
    ],
)
def test_a_change_that_cannot_be_is_refused(sources: str, told: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        config(folder, sources)
    assert told in str(raised.value)


def test_a_change_may_begin_with_another_adapter(folder: Path) -> None:
    found = config(folder, "notes/en, {name: s, cells: notes/en, start_from: prose/fr, shots: {notes/fr: 3}}")
    stage = found.source_list()[1]
    assert stage.start == Source.of([Cell("prose", "fr")])
    assert stage.names == ("notes/en", "notes/fr@3")


def test_an_entry_may_be_one_for_each_language(folder: Path) -> None:
    keys = f"cells: 'notes/{{language}}', data: '{folder}/{{language}}.jsonl', shots: {{'prose/{{language}}': 2}}"
    found = config(folder, f"{{name: 'mt-{{language}}', for: {{language: [fr, hi]}}, {keys}}}").source_list()
    assert [str(source) for source in found] == [f"notes/{one}+prose/{one}@2@mt-{one}" for one in ("fr", "hi")]
    assert [source.change.data for source in found if source.change] == [
        f"{folder}/{one}.jsonl" for one in ("fr", "hi")
    ]
    every = config(folder, f"{{name: 'mt-{{language}}', for: {{language: all}}, {keys}}}")
    assert [source.name for source in every.source_list()] == ["mt-en", "mt-fr", "mt-hi"]
    assert every.source("x", ["mt-hi"]) == found[1]
    for wrong, told in (
        (f"{{name: mt, for: {{language: all}}, {keys}}}", "go together"),
        (f"{{name: 'mt-{{language}}', {keys}}}", "go together"),
        (f"{{name: 'mt-{{language}}', for: {{language: [xx]}}, {keys}}}", "is not among `languages`"),
        ("{name: 's-{language}', for: {language: all}, cells: notes/en, shots: {notes/fr: 2}}", "comes to the same"),
    ):
        with pytest.raises(ConfigError, match=told):
            config(folder, wrong)
