"""What planning sees of texts: their languages, first sentences, prompts that are cut, items that raw text holds."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from evaluators.items.item import check_supported
from evaluators.items.rouge import rouge
from orchestrator.costs.prompts import cut_prompts
from orchestrator.planning.doubts import doubts
from orchestrator.planning.groups import _groups, groups
from orchestrator.planning.overlaps import LEAST, _held, _numbers, _plain, texts_among_items
from orchestrator.planning.seen import bare, first_sentence, seen
from orchestrator.planning.survey import Survey, survey
from study.cells import Cell
from study.config import TaskConfig
from study.config.file import parse
from study.data.tasks import TaskLibrary
from study.errors import ConfigError
from study.languages import Languages
from study.models.resolve import Model
from study.store.layout import SEEN_FILE
from study.store.seen import Seen, read_seen, renew
from study.store.store import Store
from tests.study.data.test_tasks import Function, write
from tests.study.test_languages import TEXTS

LEADS = {
    "es": "Todo individuo tiene derecho a la vida. Lo demás sigue.",
    "en": "Everyone has the right to life. More is to follow.",
}
PROMPT = "Sum up!\n{{text}}\nSummary:"


def articles(language: str, count: int = 30) -> list[dict[str, Any]]:
    """Summaries are the next line of a text, documents that line behind a number, all of their own length."""
    lines = TEXTS[language][:count]
    return [{"id": str(i), "text": f"Nr {i}. {LEADS[language]} {line}", "short": line} for i, line in enumerate(lines)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """Summaries in Spanish and English of 30 documents, and raw text that has seven of these, or of their summaries."""
    folder = tmp_path_factory.mktemp("data")
    for language in ("es", "en"):
        changes = {
            "task": f"quiz_{language}", "output_type": "generate_until", "doc_to_text": PROMPT,
            "doc_to_target": "{{short}}", "doc_to_choice": None, "metric_list": [{"metric": "exact_match"}],
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        }  # fmt: skip
        write(folder / language, articles(language), articles(language, 9)[5:], **changes)
        (folder / language / "quiz_en.yaml").rename(folder / f"quiz_{language}.yaml")
        held = [f"{one['text'].upper()}  etc." if language == "en" else one["short"] for one in articles(language)[:7]]
        rows = [*TEXTS[language][30:], *held]
        (folder / f"prose_{language}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    config = parse(f"""
models: [{{id: none}}]
languages: [es, en]
tasks:
  - {{name: quiz, lm_eval: "quiz_{{language}}", include_path: '{folder}', metric: [rougeL]}}
texts: [{{name: prose, data: '{folder}/prose_{{language}}.jsonl'}}]
sources: [quiz/es, prose/es, prose/en]
targets: [quiz/es, quiz/en]
""")
    return survey(config, TaskLibrary.of(config), check_supported, print)


def test_languages_are_told_by_the_study_s_own_texts_and_the_right_answers_say_how_well(found: Survey) -> None:
    told = seen(found, {}, print, Seen())
    known = Languages(told.trigrams)
    assert set(told.trigrams) == {"en", "es"}
    assert known.guess("all human beings") == ("en",)
    assert known.guess("todos los hombres") == ("es",)
    assert not {"mma", " up"} & told.trigrams["es"].keys()  # of the template, which all prompts have
    assert {cell: one.recognised for cell, one in told.targets.items()} == {"quiz/es": 1.0, "quiz/en": 1.0}


def test_a_first_sentence_is_rated_as_an_answer_would_be(found: Survey) -> None:
    lead = seen(found, {}, print, Seen()).targets["quiz/en"]
    values = [rouge(f"Nr {i}.", [line])["rougeL"] for i, line in enumerate(TEXTS["en"][:30])]
    assert lead.lead["rougeL"] == pytest.approx(sum(values) / 30)
    assert lead.lead_length == pytest.approx(sum(len(f"Nr {i}.") for i in range(30)) / 30)
    assert first_sentence(' He said "No!" Then he left.') == 'He said "No!"'
    assert first_sentence("Version 3.5 is out\nMore") == "Version 3.5 is out"
    assert first_sentence("他来了。她走了。") == "他来了。"
    assert first_sentence("वह आया। वह गया।") == "वह आया।"
    assert first_sentence("") == ""
    assert bare(["Sum: a.", "Sum: bc."]) == ["a", "bc"]
    assert bare(["same", "same"]) == ["same", "same"]
    assert bare(["x aa.", "x a.", "x ba."]) == ["a", "", "b"]  # what is cut off before is not cut off behind, too


def test_it_is_kept_while_the_data_are_the_same_and_written_only_where_it_says_anything(
    found: Survey, tmp_path: Path
) -> None:
    store, first = Store(str(tmp_path)), seen(found, {"m": {"quiz/en": 3}}, print, Seen())
    renew(store, lambda before: before)
    assert not store.exists(SEEN_FILE)
    renew(store, lambda _: first)
    assert read_seen(store) == first
    kept = {cell: replace(one, lead_length=-1.0) for cell, one in first.targets.items()}
    assert seen(found, {}, print, replace(first, targets=kept)).targets == kept
    other = {cell: replace(one, data="x") for cell, one in kept.items()}
    assert seen(found, {}, print, replace(first, targets=other)).targets == first.targets
    store.write(SEEN_FILE, b"{")
    assert [one.partition("(")[0] for one in read_seen(store).notes] == ["what planning saw of the data is not known "]
    renew(store, lambda before: Seen())
    assert read_seen(store) == Seen()
    newer = json.loads(json.dumps(asdict(first)))
    newer["targets"]["quiz/en"]["later"] = newer["more"] = 1
    store.write(SEEN_FILE, json.dumps(newer).encode())
    assert read_seen(store) == first


def test_items_that_hang_together_are_told_by_a_column(found: Survey, tmp_path: Path) -> None:
    """A column that there is not, or that has one value, is refused before anything is trained."""
    task = TaskConfig(name="quiz", lm_eval="quiz_{language}")
    assert groups(found, [task]) == {}
    told = groups(found, [task.model_copy(update={"group_field": "short"})])
    assert {cell: sorted(one.values()) for cell, one in told.items()} == {
        cell: [(number,) for number in range(30)] for cell in ("quiz/es", "quiz/en")
    }
    documents = [{"passage": name} for name in ("a", "b", "a", "", None)]
    named = _groups(Cell("quiz", "en"), "passage", dict(enumerate(documents)))
    assert sorted(named.values()) == [(0, 2), (1,)]
    store = Store(str(tmp_path))
    renew(store, lambda before: Seen(groups={"quiz/en": named}))
    assert read_seen(store).groups == {"quiz/en": named}
    with pytest.raises(
        ConfigError, match=r"(?s)tasks\[quiz\].group_field.*psg.*is no column of quiz/e[ns].*id, text, short"
    ):
        groups(found, [task.model_copy(update={"group_field": "psg"})])
    with pytest.raises(ConfigError, match="all 2 items of quiz/en have one value there"):
        _groups(Cell("quiz", "en"), "passage", {0: {"passage": 1}, 1: {"passage": 1}})


def test_a_task_that_fails_over_an_answer_later_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """Its function reads what is gone by then."""
    (tmp_path / "words.txt").write_text("x")
    (tmp_path / "right.py").write_text(f"def right(doc):\n    return open('{tmp_path}/words.txt').read()\n")
    changes = {
        "output_type": "generate_until", "doc_to_text": PROMPT, "doc_to_choice": None,
        "doc_to_target": Function("right.right"), "metric_list": [{"metric": "exact_match"}],
    }  # fmt: skip
    write(tmp_path, articles("en", 5), articles("en", 1), **changes)
    config = parse(f"""
models: [{{id: none}}]
languages: [en]
tasks: [{{name: quiz, lm_eval: "quiz_{{language}}", include_path: '{tmp_path}', metric: [rougeL], trust_code: true}}]
""")
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    (tmp_path / "words.txt").unlink()
    warned: list[str] = []
    told = seen(found, {}, warned.append, Seen())
    (line,) = warned
    about = "what first sentences are worth as answers is not known: quiz/en: row 0 (id '0') to score: "
    assert line.startswith(f"{about}FileNotFoundError: ")
    assert (told.targets, set(told.trigrams)) == ({}, {"en"})


def test_raw_text_that_holds_what_is_scored_is_told_and_so_are_translations(found: Survey) -> None:
    """In capitals, or between other words; what is of one language may say what is asked in another."""
    assert list(texts_among_items(found)) == [
        "raw text of prose/es holds 7 of 30 items of quiz/es, and so of their translations in quiz/en",
        "raw text of prose/en holds 7 of 30 items of quiz/en, and so of their translations in quiz/es",
        "raw texts are translations of one another, by their lengths row by row: prose/es, prose/en",
    ]
    assert set(texts_among_items(found)) <= set(doubts(found, {}, {}, {}))
    field = "他来了。她走了。" * 5
    held = {_plain(field)[:LEAST]: {(field, Cell("quiz", "zh"), 3)}}
    assert list(_held(f"是的，{field}再见", held)) == [(Cell("quiz", "zh"), 3)]  # which has no gaps between words
    assert list(_held("x" + "word " * 9, {_plain("word " * 6)[:LEAST]: {("word " * 6, Cell("quiz", "en"), 1)}})) == []


def test_translations_in_another_order_are_told_by_the_numbers_that_they_name(tmp_path: Path) -> None:
    """Of rows in one order their lengths tell it; of shuffled ones nothing else does, and without numbers nothing."""
    rows = [(1900 + i, 1000 * i + 17) for i in range(1, 31)]
    said = {
        "en": [f"In {year} there were {count:,} houses{' and more' * (count % 3)}." for year, count in rows],
        "es": [f"{'Así fue. ' * (year % 4)}{count:,} casas tenía el pueblo en {year}" for year, count in rows[::-1]],
    }
    documents = [{"text": one, "id": str(i), "short": "x"} for i, one in enumerate(said["en"])]
    write(tmp_path, documents, articles("en", 2), **{
        "output_type": "generate_until", "doc_to_text": PROMPT, "doc_to_target": "{{short}}", "doc_to_choice": None,
        "metric_list": [{"metric": "exact_match"}],
    })  # fmt: skip
    for language, own in said.items():
        lines = [json.dumps({"text": text.replace(",", ".") if language == "es" else text}) for text in own]
        (tmp_path / f"prose_{language}.jsonl").write_text("\n".join(lines))
    config = parse(f"""
models: [{{id: none}}]
languages: [es, en]
tasks: [{{name: quiz, lm_eval: {{en: quiz_en}}, include_path: '{tmp_path}'}}]
texts: [{{name: prose, data: '{tmp_path}/prose_{{language}}.jsonl'}}]
sources: [prose/es, prose/en]
targets: [quiz/en]
""")
    numbers = "30 of 30 that name any have the numbers of one of its rows"
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    assert list(texts_among_items(found)) == [
        f"raw text of prose/es holds items of quiz/en in other words, or their translations: {numbers}",
        "raw text of prose/en holds 30 of 30 items of quiz/en",
        "raw texts are translations of one another, by the numbers in their rows: prose/es, prose/en",
    ]
    assert _numbers("v2, 2024") == frozenset()  # many texts name these
    assert _numbers("١٩٤٥ و ٢٠٠٨") == _numbers("1945–2008") == {"1945", "2008"}
    assert _numbers("7 and 0012,345,678") == _numbers("7 y 12.345.678") == {"7", "12345678"}
    many = "1234567890" * 500
    assert _numbers(f"π is 3.{many} or 03") == {"3", many}  # more digits than Python makes an int of
    assert len(_numbers(" ".join(f"{n:03}" for n in range(100, 900)))) > 80  # a table's cells, and no single number


def test_the_option_that_is_most_tokens_decides_whether_a_prompt_is_cut(tmp_path: Path) -> None:
    """Which has fewer characters than the other one here."""
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    model = Model("m", str(tmp_path), None, "m", "float32", "m", 1.0, 10, False, ())
    choices = ["a a a a a", "a" * 20]
    docs = [{"question": "a " * 9 + last, "choices": choices, "answer": 0} for last in ("a", "b")]
    write(tmp_path, docs, docs, **{"doc_to_text": "{{question}}"})
    config = parse(f"""
models: [{{id: none}}]
languages: [en]
tasks: [{{name: quiz, lm_eval: {{en: quiz_en}}, include_path: '{tmp_path}'}}]
""")
    found = survey(config, TaskLibrary.of(config), check_supported, print)
    for reads, expected in ((13, {"m": {"quiz/en": 2}}), (14, {})):  # of 15 tokens the last is predicted alone
        (tmp_path / "config.json").write_text(json.dumps({"n_positions": reads}))
        assert cut_prompts([model], found) == expected


def test_prompts_that_a_model_does_not_read_whole_are_counted(found: Survey, tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    model = Model("m", str(tmp_path), None, "m", "float32", "m", 1.0, 10, False, ())
    lengths = [
        len(one.prompt.split()) for one in found.target_texts[next(c for c in found.targets if c.language == "en")]
    ]
    for reads, key in ((40, "max_position_embeddings"), (60, "n_positions"), (9999, "n_ctx")):
        (tmp_path / "config.json").write_text(json.dumps({key: reads}))
        counted = cut_prompts([model], found)
        expected = sum(length > reads - 8 for length in lengths)  # eight tokens are kept for the answer
        assert counted.get("m", {}).get("quiz/en", 0) == expected
        assert (expected > 0) is (reads < 100)
    (tmp_path / "config.json").write_text("{}")
    assert cut_prompts([model], found) == {}
    (line,) = (one for one in doubts(found, {}, {}, {"m": {"quiz/en": 3}}) if "longer than m reads" in one)
    assert line == (
        "prompts are longer than m reads, and lose their beginning, in quiz/en (3 of 30): cut the fields of their "
        "documents: tasks[].clip"
    )
