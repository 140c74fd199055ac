"""Sources of all shapes: files, saved sets, a table per language, formats; what is wrong in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from study.cells import Cell, Source
from study.config import Scoring, StudyConfig
from study.config.file import parse
from study.data.tasks import TaskLibrary
from study.errors import ConfigError, TaskError

ROWS = [{"id": f"r{i}", "text": f"row {i}", "prompt": f"Is it {i}?", "completion": f" It is {i}."} for i in range(6)]
CHAT = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "It is."}]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def study(train: str, languages: str = "[en]", more: str = "") -> StudyConfig:
    text = "models: [{id: m}]\nlanguages: " + languages + "\ntasks:\n"
    text += "  - {name: asked, lm_eval: 'asked_{language}'}\n  - {name: notes, train: " + train + "}\n" + more
    return parse(text)


def examples(train: str, language: str = "en") -> list[Any]:
    config = study(train, "[en, de]")
    return list(TaskLibrary([config.task("notes")], Scoring(), ["en", "de"]).examples(Cell("notes", language)))


def saved(folder: Path, kind: str) -> str:
    """Rows as a `train:` in each of the ways in which `datasets` keeps them."""
    table = datasets.Dataset.from_list(ROWS)
    if kind == "jsonl":
        return f"data_files: {write(folder, ROWS)}"
    if kind == "csv":
        table.to_csv(str(folder / "rows.csv"))
        return f"data_files: {folder / 'rows.csv'}"
    if kind == "parquet":
        table.to_parquet(str(folder / "rows.parquet"))
        return f"dataset_path: parquet, data_files: {folder / 'rows.parquet'}"
    if kind == "saved":
        table.save_to_disk(str(folder / "saved"))
        return f"dataset_path: {folder / 'saved'}"
    datasets.DatasetDict({"train": table, "other": table.select([0])}).save_to_disk(str(folder / "splits"))
    return f"dataset_path: {folder / 'splits'}"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "saved", "splits"])
def test_a_source_is_whatever_datasets_reads(kind: str, tmp_path: Path) -> None:
    found = examples("{format: prompt_completion, " + saved(tmp_path, kind) + "}")
    assert [(one.prompt, one.answer) for one in found] == [(row["prompt"], row["completion"]) for row in ROWS]
    assert {(one.format, one.append_eos) for one in found} == {("prompt_completion", True)}


def test_templates_limits_conditions_and_manifests_work_without_a_task(tmp_path: Path) -> None:
    files = write(tmp_path, ROWS)
    train = (
        "{data_files: " + files + ", doc_to_text: 'Q: {{prompt}}', doc_to_target: completion, where: \"{{id != 'r0'}}\""
    )
    found = examples(train + ", limit: 3, append_eos: true}")
    assert len(found) == 3
    assert all(one.prompt.startswith("Q: Is it") and one.append_eos and one.format is None for one in found)
    assert "Q: Is it 0?" not in [one.prompt for one in found]


def test_languages_may_be_named_in_any_field_or_in_a_table(tmp_path: Path) -> None:
    for language in ("en", "de"):
        write(tmp_path, [{**row, "text": f"{language} {row['text']}"} for row in ROWS], f"{language}.jsonl")
    pattern = "{format: text, data_files: '" + str(tmp_path) + "/{language}.jsonl'}"
    assert [examples(pattern, one)[0].answer for one in ("en", "de")] == ["en row 0", "de row 0"]
    table = study("{format: text, data_files: {de: " + str(tmp_path / "de.jsonl") + "}}", "[en, de]")
    assert [str(cell) for cell in table.cells()] == ["asked/en", "asked/de", "notes/de"]
    assert [str(cell) for cell in table.target_list()] == ["asked/en", "asked/de"]


def test_texts_are_sources_and_never_among_all_targets(tmp_path: Path) -> None:
    write(tmp_path, ROWS, "en.jsonl")
    config = study(
        "{format: text, data_files: x.jsonl}", more=f"texts: [{{name: prose, data: '{tmp_path}/{{language}}.jsonl'}}]\n"
    )
    cell = Cell("prose", "en")
    library = TaskLibrary.of(config)
    assert cell in config.cells()
    assert cell not in config.target_list()
    assert {one.format for one in library.examples(cell)} == {"text"}
    assert len(library.example_fingerprints(Source.of([cell]))) == 1
    assert config.limited(2).texts[0].limit == 2


def test_texts_may_have_an_objective_and_a_recipe_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, ROWS, "en.jsonl")
    data = f"data: '{tmp_path}/{{language}}.jsonl'"
    texts = [f"{{name: a, {data}}}", f"{{name: b, {data}, objective: prefix, recipe: {{epochs: 1, max_length: 9}}}}"]
    config = study("{format: text, data_files: x.jsonl}", more=f"texts: [{', '.join(texts)}]\n")
    plain, own = (Source.of([Cell(name, "en")]) for name in "ab")
    prefixed = TaskLibrary.of(config).source_examples(own)
    assert {one.objective for one in prefixed} == {"prefix"}
    assert config.recipe_of(plain) == config.recipe
    assert config.recipe_of(own) == config.recipe.model_copy(update={"epochs": 1, "max_length": 9})
    assert config.recipe_of(Source.of([*plain.cells, *own.cells])) == config.recipe
    for wrong, key in (
        ("objective: masked", "objective"),
        ("recipe: {lora: null}", "lora"),
        ("recipe: {epochs: 0}", "epochs"),
    ):
        with pytest.raises(ConfigError, match=key):
            study("{format: text, data_files: x.jsonl}", more=f"texts: [{{name: a, {data}, {wrong}}}]\n")
    with pytest.raises(ConfigError, match="objective is of raw text"):
        study("{format: messages, objective: prefix, data_files: x.jsonl}")


def test_conversations_are_kept_whole_and_nulls_of_tables_are_no_part_of_them(tmp_path: Path) -> None:
    rows = [{"messages": CHAT}, {"messages": [{"role": "system", "content": "Short.", "name": "x"}, *CHAT]}]
    found = examples("{format: messages, system_prompt: 'Be brief.', data_files: " + write(tmp_path, rows) + "}")
    told = [json.loads(one.answer) for one in found]
    assert [turn["content"] for turn in told[0]["messages"]] == ["Be brief.", "Is it?", "It is."]
    assert [turn["content"] for turn in told[1]["messages"]] == ["Short.", "Is it?", "It is."]
    assert set(told[0]["messages"][1]) == {"role", "content"}
    pairs = [{"prompt": CHAT[:1], "completion": CHAT[1:]}]
    (pair,) = examples("{format: prompt_completion, data_files: " + write(tmp_path, pairs) + "}")
    assert (pair.format, json.loads(pair.answer)["after"]) == ("messages", 1)


def test_what_is_learned_is_in_the_identity(tmp_path: Path) -> None:
    files, source = write(tmp_path, [{**row, "messages": CHAT} for row in ROWS]), Source.of([Cell("notes", "en")])
    trains = [
        "format: text", "format: text, append_eos: false", "format: text, field: prompt", "format: prompt_completion",
        "format: text, objective: prefix",
        "format: prompt_completion, append_eos: false", "format: messages", "format: messages, system_prompt: x",
        "doc_to_text: prompt, doc_to_target: completion",
        "doc_to_text: prompt, doc_to_target: completion, append_eos: true",
    ]  # fmt: skip
    prints = set()
    for train in trains:
        config = study("{" + train + ", data_files: " + files + "}")
        prints.add(TaskLibrary.of(config).example_fingerprints(source)[0])
    assert len(prints) == len(trains)


@pytest.mark.parametrize(
    ("rows", "train", "told"),
    [
        (ROWS, "format: messages", "needs a column 'messages'; columns are id, text, prompt, completion: rename it"),
        (ROWS, "format: text, field: body", "needs a column 'body'"),
        ([{**ROWS[0], "text": None}, ROWS[1]], "format: text", "row 0 (id 'r0') to learn: 'text' is null, not a text"),
        ([{"text": 3}], "format: text", "row 0 to learn: 'text' is 3, not a text"),
        ([{"messages": []}], "format: messages", "is [], not a list of turns"),
        ([{"messages": [{"role": "bot", "content": "x"}]}], "format: messages", "has the role 'bot'"),
        ([{"messages": CHAT[:1]}], "format: messages", "no assistant's turn"),
        (ROWS, "doc_to_text: promt, doc_to_target: completion", "'promt' is no column of the data"),
        ([{"text": ""}], "format: text", "all 1 rows of its split are empty; name other data"),
        ([{"prompt": CHAT[:1], "completion": CHAT[1:]}], "format: prompt_completion, append_eos: true", "is for texts"),
    ],
)
def test_wrong_data_are_told_in_a_line(rows: list[dict[str, Any]], train: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as error:
        examples("{" + train + ", data_files: " + write(tmp_path, rows) + "}")
    assert told in str(error.value)
    assert str(error.value).startswith("notes/en: ")
    assert "\n" not in str(error.value)


def test_an_empty_template_is_empty(tmp_path: Path) -> None:
    files = write(tmp_path, ROWS)
    for train in ("doc_to_target: completion", "format: prompt_completion"):
        found = examples("{" + train + ", doc_to_text: '', data_files: " + files + "}")
        assert [(one.prompt, one.answer) for one in found] == [("", row["completion"]) for row in ROWS]


def test_raw_text_is_of_a_set_or_of_files_by_language(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "en"))
    files = write(tmp_path, [{"text": "Hallo."}])
    texts = [
        ("{dataset_path: '" + str(tmp_path) + "/{language}'}", "en", "row 0"),
        ("{de: " + files + "}", "de", "Hallo."),
        (f"'{files}'", "de", "Hallo."),
    ]
    for data, language, first in texts:
        config = study("{format: text, data_files: x}", "[en, de]", "texts: [{name: prose, data: " + data + "}]\n")
        assert parse(yaml.safe_dump(config.model_dump(mode="json", exclude={"trial_run"}))) == config
        assert TaskLibrary.of(config).examples(Cell("prose", language))[0].answer == first
    of_hub = "{dataset_path: owner/set, dataset_name: '{language}', split: train}"
    config = study("{format: text, data_files: x}", more="texts: [{name: prose, data: " + of_hub + "}]\n")
    train = config.task("prose").train.of("en")
    assert (train.dataset_path, train.dataset_name, train.split, train.data_files) == ("owner/set", "en", "train", None)
    with pytest.raises(ConfigError, match=r"texts\[0\]\.data\.dataset_nam = .*unknown key[^`]*`dataset_name`"):
        study("{format: text, data_files: x}", more=f"texts: [{{name: p, data: {of_hub.replace('name', 'nam')}}}]\n")


def test_a_language_without_data_has_no_revision_either() -> None:
    config = study("{format: text, dataset_path: {en: a/b}, dataset_revision: v1}", "[en, sw]")
    assert [str(cell) for cell in config.cells()] == ["asked/en", "asked/sw", "notes/en"]
    assert config.task("notes").train.of("en").dataset_revision == "v1"


def test_a_text_file_is_one_text(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("It was\na night.\n\nA dark one.\n")
    (one,) = examples("{format: text, data_files: " + str(tmp_path / "book.txt") + "}")
    assert one.answer == "It was\na night.\n\nA dark one.\n"
    lines = examples("{format: text, dataset_path: text, data_files: " + str(tmp_path / "book.txt") + "}")
    assert [line.answer for line in lines] == ["It was", "a night.", "A dark one."]


@pytest.mark.parametrize("key", ["split: other", "dataset_name: x", "dataset_revision: x", "data_files: x.jsonl"])
def test_keys_that_say_nothing_of_a_saved_set_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=f"train.{key.partition(':')[0]}: .* is one set without splits"):
        examples("{format: text, " + saved(tmp_path, "saved") + f", {key}}}")


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ("data_files: /nowhere/rows.jsonl", "no such file: /nowhere/rows.jsonl"),
        ("data_files: rows.xlsx", "its name does not say what it is; known are .json, .jsonl, .csv"),
        ("dataset_path: csv", "what reads files, and none are named: set data_files"),
    ],
)
def test_files_that_are_not_there_are_told_in_a_line(train: str, told: str) -> None:
    with pytest.raises(TaskError, match=told):
        examples("{format: text, " + train + "}")


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ("{}", "name one, or data to learn from: tasks[notes].train.data_files"),
        ("{data_files: x.jsonl}", "set train.format, or both train.doc_to_text and train.doc_to_target"),
        ("{format: text, data_files: x.jsonl, doc_to_text: x}", "leave them out with format: text"),
        ("{format: text, data_files: x.jsonl, system_prompt: x}", "set format: messages"),
        ("{data_files: x.jsonl, field: x}", "set format: text, or messages"),
        ("{data_files: x.jsonl, doc_to_text: {de: x}, doc_to_target: x}", "or both train.doc_to_text"),
        ("{format: text, data_files: x.jsonl, bos: false}", "each chunk of a raw text begins with it"),
        ("{format: messages, data_files: x.jsonl, bos: false}", "where the chat template decides"),
        ("{format: text, data_files: x.jsonl, truncation: right}", "truncation is of what is cut off"),
        ("{format: text, data_files: x.jsonl}, metric: acc", "tasks[notes].metric = 'acc': is of an lm-eval task"),
        ("{format: text, data_files: x.jsonl}, scoring: {num_fewshot: 1}", "tasks[notes].scoring"),
        ("{format: text, data_files: x.jsonl}, harm: 1", "tasks[notes].harm"),
        ("{format: text, data_files: x.jsonl}, trust_code: true", "tasks[notes].trust_code"),
        ("{format: text, data_files: x.jsonl}, include_path: x", "tasks[notes].include_path"),
    ],
)
def test_a_config_that_does_not_say_what_is_learned_is_refused(train: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        study(train, "[en, de]")
    assert told in str(error.value)
    assert str(error.value).count("\n") == 1  # what is wrong, and the fix


def test_a_source_alone_is_no_target() -> None:
    with pytest.raises(ConfigError, match="it is learned from only"):
        study("{format: text, data_files: x.jsonl}", more="targets: [notes/en]\n")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", '{"prompt":"Ö?","completion":"ä"}\n'.encode("latin-1"), "save the file as UTF-8"),
        ("a.csv", "prompt,completion\nÖ,ä\n".encode("latin-1"), "save the file as UTF-8"),
        ("a.txt", "Österreich ".encode("latin-1") * 30, "save the file as UTF-8"),
        ("a.jsonl", b'{"prompt":"a","completion":"b"}\n{"prompt": "a", \n', "write one object, {…}, in each line"),
        ("a.csv", b"prompt,completion\na,b\nc,d,e,f\n", "in line 3, saw 4: write as many cells in each line"),
        ("a.csv", b"prompt,completion\n", "it has no rows: fill it, or leave it out"),
        ("a.parquet", b"hello", "it is no Parquet file"),
        ("a.jsonl", b" \n" * 9, "has no rows: fill it, or leave its language out"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_mends_it(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    form = "text" if name.endswith(".txt") else "prompt_completion"
    with pytest.raises(TaskError) as raised:
        examples(f"{{format: {form}, data_files: {tmp_path}/{name}}}")
    assert told in str(raised.value)
    assert f"{tmp_path}/{name}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_marks_and_line_ends_of_other_systems_change_no_row(tmp_path: Path) -> None:
    plain = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    for name, content in (("bom", b"\xef\xbb\xbf" + plain), ("crlf", plain.replace(b"\n", b"\r\n"))):
        (tmp_path / f"{name}.jsonl").write_bytes(content)
        found = examples(f"{{format: prompt_completion, data_files: {tmp_path}/{name}.jsonl}}")
        assert [one.prompt for one in found] == [row["prompt"] for row in ROWS]


def test_a_folder_or_a_pattern_of_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"is a folder: write .*/\*\.txt, say"):
        examples(f"{{format: text, data_files: {tmp_path}}}")
    with pytest.raises(TaskError, match=r"no such file: .*/\*\.txt \(working directory"):
        examples(f"{{format: text, data_files: '{tmp_path}/*.txt'}}")


def test_rows_that_are_drawn_by_an_id_that_they_share_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [{**row, "id": min(i, 3)} for i, row in enumerate(ROWS)], "en.jsonl")
    for limit, shared in ((", limit: 2", {(Cell("notes", "en"), "train"): (3, "3")}), ("", {})):
        config = study(f"{{format: prompt_completion, data_files: {tmp_path}/en.jsonl{limit}}}")
        library = TaskLibrary.of(config)
        library.examples(Cell("notes", "en"))
        assert library.shared == shared


def test_a_set_has_a_part_for_each_language_as_one_of_the_hub_has(tmp_path: Path) -> None:
    """Its card names them: `datasets` reads a folder of such a set as it reads the Hub's."""
    parts = ["configs:"]
    for language in ("en", "de"):
        write(tmp_path, [{**row, "text": f"{language} {row['text']}"} for row in ROWS], f"{language}.jsonl")
        parts += [
            f"- config_name: {language}",
            "  data_files:",
            f"  - {{split: {language}_train, path: {language}.jsonl}}",
        ]
    (tmp_path / "README.md").write_text("\n".join(["---", *parts, "---", ""]))
    train = f"{{format: text, dataset_path: {tmp_path}, dataset_name: '{{language}}', split: '{{language}}_train'}}"
    assert [examples(train, one)[0].answer for one in ("en", "de")] == ["en row 0", "de row 0"]
    with pytest.raises(TaskError, match=r"notes/en: .*fr"):
        examples(train.replace("'{language}', split", "fr, split"))
