"""What the pages tell a person to write can be written: every config is accepted, every command and option is one."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.config.file import load
from study.config.keys import StudyConfig
from study.config.train import ByLanguage, TrainOverride
from tests.support.pages import DOCS, Block, blocks, commands
from tests.support.tiny_world import REPOSITORY

KEYS = {*StudyConfig.model_fields, "extends"}
AROUND: dict[str, Any] = {  # what a part of a config is a part of
    "models": [{"id": "examples/quickstart/polyglot-nano"}],
    "languages": ["de", "en", "es", "fr"],
    "tasks": [{"name": name, "lm_eval": f"{name}_{{language}}"} for name in ("digest", "territory")],
    "texts": [{"name": "prose", "data": "prose_{language}.jsonl"}],
    "adapters": [{"name": "chat", "model": "polyglot-nano", "path": "somewhere"}],
}
EXTENDED = {"../study.yaml": REPOSITORY / "examples/donors_and_recipients/study.yaml"}
PARSERS = {made().prog.split()[-1]: made for made in runpy.run_path(str(DOCS / "reference.py"))["COMMANDS"]}
ELSEWHERE = {  # no commands of ours: what they do with our files is looked at by hand
    *("aws", "base64", "cd", "cp", "do", "docker", "done", "export", "for", "grafana", "hf", "kubectl", "mkdir", "pip"),
    *("pre-commit", "prometheus", "python", "ray", "scancel", "sed", "source", "squeue", "tail"),
}


def configs() -> list[Block]:
    return [block for block in blocks("yaml") if set(yaml.safe_load(block.text)) <= KEYS]


@pytest.mark.parametrize("block", configs(), ids=lambda block: block.place)
def test_a_config_is_accepted(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    said = yaml.safe_load(block.text)
    if base := said.get("extends"):
        said["extends"] = str(EXTENDED.get(base, REPOSITORY / base))
    elif "models" not in said:
        said = AROUND | said
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(said), encoding="utf-8")
    assert load(file).source_list()


def test_other_yaml_is_of_tasks() -> None:
    """Those of the tutorial are run (`test_tutorial`)."""
    others = [block for block in blocks("yaml") if set(yaml.safe_load(block.text)) - KEYS]
    assert [block.place.partition(":")[0] for block in others if block.title is None] == ["docs/tasks.md"]
    (part,) = (yaml.safe_load(block.text) for block in others if block.title is None)
    assert TrainOverride[ByLanguage].model_validate(part["train"]).limit == 300


def check(words: list[str]) -> None:
    """Exit, or fail, where a command is none, or has other options."""
    first, *rest = words
    if words[:2] == ["python", "-m"]:
        name, *arguments = words[2:]
        assert (REPOSITORY / f"{name.replace('.', '/')}.py").is_file() or (REPOSITORY / name.replace(".", "/")).is_dir()
        if name in PARSERS:
            parser = PARSERS[name]()
            _, passed_on = parser.parse_known_args(arguments)
            if name == "orchestrator.submit":
                PARSERS["orchestrator.sweep"]().parse_args(["study.yaml", *passed_on])
            else:
                assert passed_on == []
    elif first == "make":
        targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in rest if "=" not in word} <= targets
    elif first == "sbatch":
        place = next(i for i, word in enumerate(rest) if not word.startswith("--"))
        assert (REPOSITORY / rest[place]).is_file()
        PARSERS["orchestrator.sweep"]().parse_args(rest[place + 1 :])
    elif "/" in first:
        assert (REPOSITORY / first).is_file()
    else:
        assert first in ELSEWHERE


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.place)
def test_every_command_and_option_is_one(block: Block) -> None:
    for words in commands(block.text):
        try:
            check(words)
        except (AssertionError, SystemExit) as error:
            pytest.fail(f"{block.place}: {' '.join(words)}: {error}")


WRONG = (
    "python -m orchestrator.sweep study.yaml --drry",
    "python -m orchestrator.submit study.yaml --limt 8",
    "python -m analysis.report a b",
    "python -m study.nothing x",
    "sbatch --nodes=1 clusters/slurm.sh study.yaml --sett a=1",
    "make sweeep",
    "clusters/none.sh",
)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_one_is_seen(wrong: str) -> None:
    (words,) = commands(wrong)
    with pytest.raises((AssertionError, SystemExit)):
        check(words)


def test_options_that_the_text_names_are_options() -> None:
    """`--something` and `python -m …` within a line, where it is ours; not of Slurm or vLLM, and not of benchmarks."""
    others = {"--exclusive", "--gpus-per-node", "--max-lora-rank", "--gres", "--nodes", "--time"}
    known = {option for made in PARSERS.values() for action in made()._actions for option in action.option_strings}
    named: dict[str, str] = {}
    for page in set(DOCS.glob("*.md")) - {DOCS / "benchmarks.md", DOCS / "calibration.md"}:
        for code in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")):
            if re.match(r"--|python -m (orchestrator|analysis|evaluators|study)\.", code):
                named.update(dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code), page.name))
    assert {option: page for option, page in named.items() if option not in known | others} == {}
