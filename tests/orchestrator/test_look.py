"""`orchestrator.look`: what is shown is what is trained and scored, for people and for programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer

from evaluators.items.item import check_supported
from orchestrator.costs.prompts import cut_prompts
from orchestrator.look import main
from orchestrator.planning.survey import survey
from study.config.file import load
from study.data.example import Example
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve_all
from tests.study.data.test_tasks import docs, write
from trainers.data import tokenise


@pytest.fixture(scope="module")
def config(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("look")
    write(folder, [{**doc, "answer": 0} for doc in docs(6)])
    chats = [{"messages": [{"role": "user", "content": "one?"}, {"role": "assistant", "content": "two"}]}] * 3
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    texts = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{question}}"}
    how_to = {"until": ["\n"], "max_gen_toks": 200}  # of the model's 256
    writing = {"output_type": "generate_until", "doc_to_target": "{{note}}", "generation_kwargs": how_to}
    for name, how, words in (("texts", texts, 300), ("writing", writing, 60)):
        metric = [{"metric": "word_perplexity" if name == "texts" else "exact_match"}]
        rows = [{**doc, "question": "x " * words} for doc in docs(3)]
        write(folder / name, rows, docs(2), **how, doc_to_choice=None, metric_list=metric)
    (folder / "notes.jsonl").write_text(json.dumps({"text": "one two " * 40}) + "\n")
    study: dict[str, Any] = {
        "store": str(folder / "store"),
        "models": [{"id": str(tiny_model_dir), "name": "tiny"}],
        "languages": ["en"],
        "tasks": [
            {"name": "quiz", "lm_eval": "quiz_{language}", "include_path": str(folder)},
            {"name": "chat", "train": {"format": "messages", "data_files": str(folder / "chats.jsonl")}},
            {"name": "notes", "train": {"format": "text", "data_files": str(folder / "notes.jsonl")}},
            *(
                {"name": name, "lm_eval": "quiz_{language}", "include_path": str(folder / name)}
                for name in ("texts", "writing")
            ),
        ],
        "recipe": {"max_length": 16},
        "scoring": {"num_fewshot": 1},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return str(folder / "study.yaml")


def test_people_see_the_mask_the_prompts_and_what_is_wrong_with_a_split(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([config, "--cell", "quiz/en", "--rows", "1"]) == 0
    told = capsys.readouterr().out
    assert "quiz/en, as tiny meets it" in told
    assert "Answer:⟦ none⟧\ntokens: " in told
    assert re.search(r"\ntokens: [\d ]+ ⟦[\d ]+⟧\ncut, \d+ characters: '<s>How ", told)
    assert "5 rows, " in told
    assert "5 are longer than 16 and cut" in told
    assert "cut from" in told
    assert "\nanswers: ' none' " in told
    assert "1 examples before each" in told
    assert "option 0: ' 1'" in told
    assert "  right: '1'" in told
    assert "right answers: 6 different ones" in told  # the first option: each has its own
    assert "all are one" not in told
    assert main([config, "--cell", "writing/en", "--rows", "0"]) == 0
    told = capsys.readouterr().out
    assert "answers are written, up to '\\n', of 200 tokens at most" in told
    assert "right answers: 'x' 100%: all are one" in told


def test_programs_get_the_tokens_that_are_trained(
    config: str, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([config, "--cell", "quiz/en", "--rows", "2", "--json", "--model", "tiny"]) == 0
    found = json.loads(capsys.readouterr().out)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    pairs = [Example(f"How much is {n} + 1?\nAnswer:", answer) for n, answer in ((100, " none"), (101, " a lot"))]
    rows = tokenise(tokenizer, pairs, 16, "answer")
    for number, (shown, row) in enumerate(zip(found["learned"]["rows"], rows, strict=True)):
        assert [token for span in shown["spans"] for token in span["tokens"]] == list(row.tokens)
        assert [token for span in shown["spans"] if span["learned"] for token in span["tokens"]] == [
            row.tokens[place] for place in row.places
        ]
        assert shown["whole"] > shown["n_tokens"] == 16
        text = "".join(span["text"] for span in shown["spans"])
        whole = pairs[number].prompt + pairs[number].answer
        assert shown["cut"] + text == tokenizer.decode(tokenizer.encode(whole))
    assert found["learned"]["lengths"]["cut"] == found["learned"]["lengths"]["count"] == 5
    assert len(found["asked"]["items"]) == 2
    assert found["asked"]["items"][0]["prompt"].count("Answer:") == 2


def test_prompts_are_shown_by_the_chat_template(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    chat = ["--set", "scoring={apply_chat_template: true, system_prompt: Be brief., num_fewshot: 1}"]
    assert main([config, "--cell", "quiz/en", "--rows", "1", *chat]) == 0
    told = capsys.readouterr().out.partition("ASKED, 1 examples before each, by the chat template")[2]
    assert told.index("Be brief.") < told.index("<|user|>") < told.index("<|assistant|>") < told.index("option 0")
    assert told.count("<|assistant|>") == 2


def test_items_of_a_group_are_shown_of_each_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examples/shapes/group.yaml", "--cell", "world/de", "--rows", "2"]) == 0
    told = capsys.readouterr().out
    assert "a group of shapes_territory_de (100 items), shapes_currency_de (100 items)\n" in told
    assert "item 0 of shapes_territory_de, " in told
    assert "item 100 of shapes_currency_de, " in told


@pytest.mark.processes
def test_nothing_but_what_is_asked_for_is_told() -> None:
    """lm-eval draws a bar per task; and what is wrong with a config is told before torch is there."""
    code = "import orchestrator.look, os, sys; print('torch' in sys.modules, os.environ['TQDM_DISABLE'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False 1\n"


def test_a_source_alone_is_learned_and_not_asked(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([config, "--cell", "chat/en", "--rows", "1", "--set", "recipe.max_length=64"]) == 0
    told = capsys.readouterr().out
    assert "<|user|>one?\n<|assistant|>⟦two" in told
    assert "ASKED" not in told


def test_what_is_cut_goes_by_how_it_is_read(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([config, "--cell", "notes/en", "--rows", "2"]) == 0
    told = capsys.readouterr().out
    assert "row 2, 15 tokens, chunk of " in told
    assert "; read in chunks of 16" in told
    assert "cut from" not in told

    def asked(cell: str) -> dict[str, Any]:
        assert main([config, "--cell", cell, "--set", "scoring.num_fewshot=0", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["asked"]
        cuts.update({cell: [item["cut"] for item in found["items"]]})
        return dict(found["lengths"])

    cuts = dict[str, list[str]]()

    texts, writing, options = (asked(cell) for cell in ("texts/en", "writing/en", "quiz/en"))
    assert (texts["cut"], texts["limit"]) == (0, None)  # in windows
    assert (writing["limit"], options["limit"]) == (56, 257)  # an option's last token is not read
    assert texts["longest"] > options["limit"]
    assert options["limit"] > writing["longest"] > writing["limit"]
    assert writing["cut"] == 3
    assert all(re.fullmatch("<s>(x )+", text) for text in cuts["writing/en"])
    assert {*cuts["texts/en"], *cuts["quiz/en"]} == {""}
    study = load(config, ["scoring.num_fewshot=0"])
    found = survey(study, TaskLibrary.of(study), check_supported, print)
    assert cut_prompts(resolve_all(study), found) == {"tiny": {"writing/en": 3}}  # as a plan counts them


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--cell", "quiz/fr"], "fix: use one of quiz/en, chat/en"),
        (["--cell", "quiz/en", "--rows", "-1"], "0: lengths alone"),
        (["--cell", "quiz"], "write task/language"),
        (["--cell", "quiz/en", "--model", "big"], "fix: use one of tiny"),
        (["--cell", "chat/en", "--set", "tasks.1.train.field=turns"], "needs a column 'turns'"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: list[str], fault: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([config, *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert fault in told


def test_a_source_of_changed_data_is_learned_by_its_name(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([config, "--cell", "few", "--set", "sources=[{name: few, cells: quiz/en, shots: {notes/en: 1}}]"]) == 0
    told = capsys.readouterr().out
    assert "quiz/en+notes/en@1@few, as tiny meets it" in told
    assert "one two" in told
    assert "ASKED" not in told
    assert main([config, "--cell", "quiz/en@3", "--set", "tasks.0.train.sizes=[3]"]) == 0
    told = capsys.readouterr().out
    assert "quiz/en@3, as tiny meets it" in told
    assert ": 3 rows, " in told
    assert "ASKED" not in told
