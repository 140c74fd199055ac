"""Count what `study.sizes.yaml` says of tokens: `python -m examples.donors_and_recipients.count FOLDER`.

The study's sets are on the Hub alone; this counts public copies of what they were made from, in English, and takes
other languages to be that times what parallel sentences are longer in them. FOLDER holds, each by its name:

- clones of the repositories in `COMMITS`, which are read at these commits (`git clone --bare … OWNER+NAME`);
- `qwen.tiktoken`, which the package dashscope 2.0.2 has in `dashscope/resources`;
- `gemma-3-270m`, a folder with Gemma 3's tokenizer, as `python -m examples.smollm2.gguf gemma3` makes it.

It writes the cells into the file and prints the figures that its notes state.
"""

from __future__ import annotations

import argparse
import ast
import base64
import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import mean

import regex

FILE = Path(__file__).with_name("study.sizes.yaml")
COMMITS = {
    "MicrosoftTranslator+NTREX": "8561f6a622db9edad1217683e5c83daefd8bb2bf",
    "aryopg+mmlu-redux": "4563cfa79b659d76716e5b6019f46bba85fa02db",
    "hthuwal+ARC-Challenge": "526b8e71f1db48f600b9f87dcf6b7bd494ff0880",
    "meta-llama+llama-models": "a9c89c471f793423afd4cc3ca8671d6e56fe64cb",
    "p4l4ni+LLM_HALLUCINATION": "a56b9db3da6e180b30c3e03fd3f21cb161a00a12",
}
NTREX = {
    "ar": "ref.arb", "bn": "ref.ben", "de": "ref.deu", "en": "src.eng", "es": "ref.spa", "fr": "ref.fra",
    "hi": "ref.hin", "id": "ref.ind", "it": "ref.ita", "ja": "ref.jpn", "ko": "ref.kor", "nl": "ref.nld",
    "pt": "ref.por", "sw": "ref.swa", "uk": "ref.ukr", "yo": "ref.yor", "zh": "ref.zho-CN",
}  # fmt: skip
OF_MMLU_ALONE, OF_THE_OTHERS_ALONE = {"ja", "ko", "sw", "yo"}, {"nl", "uk"}
MODELS = {"llama": "Llama-3.2-1B-Instruct", "qwen": "Qwen2.5-0.5B-Instruct", "gemma": "gemma-3-1b-it"}
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT = 35  # tokens of a chat template around an item: assumed
HELLASWAG, CONTEXT = 561.6, 0.3  # characters of an item, published; how much of that is context, assumed
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
Length = Callable[[str], int]
Item = tuple[str, list[str]]  # a question, and its options
Cell = tuple[float, float, int, float]  # tokens scored, scored with options apart; examples and their tokens


def shown(folder: Path, repository: str, path: str) -> str:
    command = ["git", "-C", str(folder / repository), "show", f"{COMMITS[repository]}:{path}"]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", errors="replace")


def by_ranks(text: str, numbers: str) -> Length:
    """Length by byte pairs as tiktoken merges them; a token of digits has as many as `numbers` says."""
    ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in text.splitlines() if line.strip())}
    words = regex.compile(SPLIT % numbers)

    @cache
    def pieces(word: str) -> int:
        parts = [bytes([byte]) for byte in word.encode()]
        while len(parts) > 1:
            pairs = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
            if (least := min(pairs)) == len(ranks):
                break
            i = pairs.index(least)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return len(parts)

    return cache(lambda text: sum(pieces(word) for word in words.findall(text)))


def lengths(folder: Path) -> dict[str, Length]:
    """How long a text is to each family, without special tokens."""
    from transformers import AutoTokenizer

    gemma = AutoTokenizer.from_pretrained(folder / "gemma-3-270m")
    return {
        "llama": by_ranks(shown(folder, "meta-llama+llama-models", "models/llama3/tokenizer.model"), "{1,3}"),
        "qwen": by_ranks((folder / "qwen.tiktoken").read_text(), ""),
        "gemma": cache(lambda text: len(gemma(text, add_special_tokens=False)["input_ids"])),
    }


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


def scored(prompts: list[float], options: list[float], counts: list[int]) -> tuple[float, float]:
    """Tokens of 400 items: prompts once, and with every option; an option's last token is predicted only."""
    several = list(zip(prompts, options, counts, strict=True))
    return 400 * mean(p + o - n for p, o, n in several), 400 * mean(p * n + o - n for p, o, n in several)


def cells_of(family: str, length: Length, factor: dict[str, float], sets: dict[str, list[Item]]) -> dict[str, Cell]:
    whole = [(sum(map(len, (a, *o))), length(a) + sum(length(" " + x) for x in o)) for a, o in sets["arc"]]
    hellaswag = HELLASWAG * sum(tokens for _, tokens in whole) / sum(chars for chars, _ in whole)
    primer = length(PRIMER) + length("\n\nQ: \nA:") + CHAT
    found: dict[str, Cell] = {}
    for language, times in factor.items():
        if language not in OF_MMLU_ALONE:
            asked, options, counts = _times(length, sets["arc"], times)
            frame = length("Question: \nA)\nB)\nC)\nD)\nAnswer: A")
            learned = 300 * mean(min(256, frame + a + o) for a, o in zip(asked, options, strict=True))
            prompts = [CHAT + length("Question: \nAnswer:") + a for a in asked]
            found[f"arc_challenge/{language}"] = (*scored(prompts, options, counts), 300, learned)
            frame = length("\nA)\nB)\nC)\nD)\nAnswer: A")
            learned = 300 * min(512, frame + (5 + hellaswag) * times)
            read = scored([CHAT + (5 + CONTEXT * hellaswag) * times], [(1 - CONTEXT) * hellaswag * times], [4])
            found[f"hellaswag/{language}"] = (*read, 300, learned)
            asked, options, counts = _times(length, sets["truthfulqa"], times)
            frame = length("Question: \nAnswer:") + (family != "qwen")  # Qwen has no BOS
            best = [length(" " + right) * times for _, (right, *_) in sets["truthfulqa"]]
            learned = 300 * mean(min(128, frame + a + b) for a, b in zip(asked, best, strict=True))
            found[f"truthfulqa/{language}"] = (*scored([primer + a for a in asked], options, counts), 300, learned)
        if language not in OF_THE_OTHERS_ALONE:
            asked, options, _ = _times(length, sets["mmlu"], times)
            prompts = [length("\nA.\nB.\nC.\nD.\nAnswer:") + a + o for a, o in zip(asked, options, strict=True)]
            read_once = 400 * (CHAT + mean(prompts))  # letters are one token, which is predicted only
            learned = 215 * mean(min(512, 1 + one) for one in prompts)
            found[f"global_mmlu/{language}"] = (read_once, read_once, 215, learned)
    return found


def _times(length: Length, items: list[Item], times: float) -> tuple[list[float], list[float], list[int]]:
    """Tokens of questions, and of all options of each, in a language; and how many these are."""
    asked = [length(question) * times for question, _ in items]
    options = [sum(length(" " + option) for option in some) * times for _, some in items]
    return asked, options, [len(some) for _, some in items]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.donors_and_recipients.count", description="Count.")
    parser.add_argument("folder", type=Path, help="with what the module's first lines name")
    folder = parser.parse_args().folder
    sets = {"arc": arc(folder), "mmlu": mmlu(folder), "truthfulqa": truthfulqa(folder)}
    print({name: len(items) for name, items in sets.items()}, "questions")
    texts = {
        language: shown(folder, "MicrosoftTranslator+NTREX", f"NTREX-128/newstest2019-{name}.txt").splitlines()
        for language, name in NTREX.items()
    }
    lines = ["cells:\n"]
    for family, length in lengths(folder).items():
        tokens = {language: sum(map(length, some)) for language, some in texts.items()}
        factor = {language: count / tokens["en"] for language, count in tokens.items()}
        print(family, {language: round(times, 2) for language, times in factor.items()})
        lines.append(f"  {MODELS[family]}:\n")
        for cell, (read, apart, examples, learned) in sorted(cells_of(family, length, factor, sets).items()):
            counted = f"score_tokens: {round(read)}, apart_tokens: {round(apart)}, examples: {examples}"
            lines.append(f"    {cell}: {{items: 400, {counted}, train_tokens: {round(learned)}}}\n")
    text = FILE.read_text(encoding="utf-8")
    FILE.write_text(text[: text.index("cells:\n")] + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
