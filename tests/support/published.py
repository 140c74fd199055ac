"""The published study's data, made: rows of the same fields and types in a folder each, laid out as on the Hub.

`datasets` takes `Dr4kl3s/…` for a folder of the working directory where there is one, so nothing of the preset changes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

LANGUAGES = ["ar", "bn", "de", "en", "es", "fr", "hi", "id", "it", "pt", "zh"]
FOLDERS = {
    "arc_challenge": "arc_challenge_core_grid_seed42",
    "global_mmlu": "global_mmlu_lite_core_grid_seed42",
    "hellaswag": "hellaswag_coregrid_seed42",
    "truthfulqa": "truthfulqa_coregrid_seed42",
}
WORDS = {
    "ar": "ما هي عاصمة فرنسا الماء الشمس كتاب واحد اثنان ثلاثة مدرسة قلب",
    "bn": "কোন শহর রাজধানী জল সূর্য বই এক দুই তিন বিদ্যালয় মন",
    "en": "what is the capital of France water sun book one two three school heart",
    "hi": "क्या है राजधानी फ्रांस पानी सूरज किताब एक दो तीन विद्यालय दिल",
    "zh": "什么 是 法国 首都 水 太阳 书 一 二 三 学校 心",
}
ORIGINALS = {  # a task's original set, its splits to train on and to score
    "arc_challenge": ("alexandrainst/m_arc", "train", "test"),
    "global_mmlu": ("CohereLabs/Global-MMLU-Lite", "dev", "test"),
    "hellaswag": ("alexandrainst/m_hellaswag", "val", "val"),
    "truthfulqa": ("alexandrainst/m_truthfulqa", "val", "val"),
}
ELSEWHERE = {  # those that another set has, and its split
    ("hellaswag", "zh"): ("richmondsin/m_hellaswag", "val"),
    ("truthfulqa", "en"): ("Dr4kl3s/truthfulqa_en_aligned", "validation"),
}
REVISIONS = {  # of the release
    "alexandrainst/m_arc": "69b0991ee606079105c4f9e271bcc1fef0014e03",
    "CohereLabs/Global-MMLU-Lite": "36c2fd756f19ccf13a9a96c8e53ccecc02192b8b",
    "alexandrainst/m_hellaswag": "9d31dc982bd6285e081e3e3136332a38b9c1d7b7",
    "richmondsin/m_hellaswag": "8d9642f16ae3031f7eddc3e3531b6ae58686d81a",
    "alexandrainst/m_truthfulqa": "f0445d470f1925882b990f5f247fdcf288972f60",
    "Dr4kl3s/truthfulqa_en_aligned": "7332da38d96e69b5d6f2502cd45db3fe011b2f19",
}
NEW_LANGUAGES = {  # of the paper's first version, that have data
    "arc_challenge": ["nl", "uk"],
    "global_mmlu": ["ja", "ko", "sw", "yo"],
    "hellaswag": ["nl", "uk"],
    "truthfulqa": ["nl", "uk"],
}
NUMBERED = {("global_mmlu", "hi")}  # whose answers are 0 to 3, not letters
# The row of each split that new languages have not, where ids are not numbers of rows:
LACKING = {"train": 2, "test": 1}
FIRST_SCORED = 60  # of TruthfulQA, whose ids are numbers of rows
Row = dict[str, Any]
Rows = Callable[[str, str, str, int], list[Row]]  # of a task, a language and a split, so many


def make_data(
    folder: Path, train: int | dict[str, int], test: int, languages: list[str] | None = None, made: Rows | None = None
) -> Path:
    """Lay the four sets below `folder`, one config per language, so many rows in each split, as `made` makes them."""
    made = made or rows
    for task, name in FOLDERS.items():
        counts = {"train": train[task] if isinstance(train, dict) else train, "test": test}
        configs = {
            language: {split: made(task, language, split, count) for split, count in counts.items()}
            for language in languages or LANGUAGES
        }
        lay_out(folder / "Dr4kl3s" / name, configs)
    return folder


def make_originals(folder: Path, train: int, test: int) -> Path:
    """Lay the original sets below `folder`: the rows of the four among others, in another order, in every language."""
    for task, (path, learned, scored) in ORIGINALS.items():
        here = [one for one in [*LANGUAGES, *NEW_LANGUAGES[task]] if (task, one) not in ELSEWHERE]
        lay_out(folder / path, {one: _pool(task, one, (learned, scored), (train, test)) for one in here})
    for (task, language), (path, split) in ELSEWHERE.items():
        pool = _pool(task, language, (split, split), (train, test))
        if task == "truthfulqa":
            pool = {split: [_in_one_column(row) for row in pool[split]]}
        lay_out(folder / path, {"default" if task == "truthfulqa" else language: pool})
    return folder


def make_manifests(folder: Path, train: int, test: int) -> Path:
    """Write the release's manifests below `folder`: one a task, for all languages."""
    home = folder / "split_manifests" / "canonical"
    home.mkdir(parents=True)
    for task in FOLDERS:
        made = [(split, rows(task, "en", split, count)) for split, count in (("train", train), ("test", test))]
        lines = [f"{split},{row[id_field(task)]}\n" for split, some in made for row in some]
        (home / f"{task}.csv").write_text("split,id\n" + "".join(lines))
    return folder


def id_field(task: str) -> str:
    return {"global_mmlu": "sample_id", "truthfulqa": "truth_id"}.get(task, "id")


def _pool(task: str, language: str, splits: tuple[str, str], counts: tuple[int, int]) -> dict[str, list[Row]]:
    (learned, scored), (train, test) = splits, counts
    if task == "truthfulqa":  # the number of a row is its id
        made = rows(task, language, "train", FIRST_SCORED) + rows(task, language, "test", test + 3)
        told = [{key: value for key, value in row.items() if key != "truth_id"} for row in made]
        other = language in NEW_LANGUAGES[task]  # an `id` that is none
        return {learned: [row | ({"id": f"tqa-{i // 2}"} if other else {}) for i, row in enumerate(told)]}
    made = {"train": rows(task, language, "train", train + 5), "test": rows(task, language, "test", test + 3)}
    if language in NEW_LANGUAGES[task]:
        made = {split: some[: LACKING[split]] + some[LACKING[split] + 1 :] for split, some in made.items()}
    if learned == scored:
        return {learned: [*made["test"], *made["train"]][::-1]}
    return {learned: made["train"][::-1], scored: made["test"][::-1]}


def _in_one_column(row: Row) -> Row:
    """Targets as the English set of TruthfulQA has them: what numpy writes of them."""
    told = {"question": row["question"]}
    for name in ("mc1_targets", "mc2_targets"):
        choices, labels = np.array(row[f"{name}_choices"], dtype=object), np.array(row[f"{name}_labels"])
        told[name] = repr({"choices": choices, "labels": labels})
    return told


def lay_out(home: Path, configs: dict[str, dict[str, list[Row]]]) -> None:
    """Write a set as a folder of the Hub's: its configs, each with its splits."""
    stated = []
    for name, splits in configs.items():
        files = []
        for split, made in splits.items():
            file = home / name / f"{split}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
            files.append({"split": split, "path": f"{name}/{split}.jsonl"})
        stated.append({"config_name": name, "data_files": files})
    (home / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': stated})}---\n")


def rows(task: str, language: str, split: str, count: int) -> list[Row]:
    """Rows with what the released code has to deal with: spaces, marks, hidden and fifth options, long texts."""
    draw = random.Random(f"{task}/{language}/{split}")
    words = WORDS.get(language, WORDS["en"]).split()

    def text(least: int, most: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(least, most)))

    make = {"arc_challenge": _arc, "global_mmlu": _mmlu, "hellaswag": _hellaswag, "truthfulqa": _truthfulqa}[task]
    made = [make(i, split, draw, text) for i in range(count)]
    if (task, language) in NUMBERED:
        made = [row | {"answer": "ABCD".index(row["answer"])} for row in made]
    return made


def _arc(i: int, split: str, draw: random.Random, text: Any) -> Row:
    options = {f"option_{letter}": f"{text(1, 4)} " * (1 + i % 2) for letter in "abcd"}
    right = "E" if i % 9 == 4 else draw.choice("ABCD")
    options["option_e"] = text(1, 3) if right == "E" else None
    if i % 7 == 3 and right != "D":
        options["option_d"] = None
    long = 250 if i % 10 == 7 else 0
    return {
        "id": f"ARC-Challenge/{split}/{i}",
        "instruction": f" {text(3 + long, 9 + long)}?\n",
        **options,
        "answer": right,
    }


def _mmlu(i: int, split: str, draw: random.Random, text: Any) -> Row:
    options = {f"option_{letter}": text(1, 5) for letter in "abcd"}
    right = draw.choice("ABCD")
    long = 520 if split == "train" and i % 10 == 7 else 0
    return {"sample_id": f"law/{split}/{i}", "question": f"{text(3 + long, 12 + long)}? ", **options, "answer": right}


def _hellaswag(i: int, split: str, draw: random.Random, text: Any) -> Row:
    long = 520 if split == "train" and i % 10 == 8 else 0
    return {
        "id": f"hellaswag/validation/{i if split == 'train' else 1000 + i}",
        "ctx_a": f"{text(2 + long, 5 + long)} [title] {text(1, 3)}  {text(1, 2)}. [step] {text(1, 4)}",
        "ctx_b": f"mR {text(1, 3)}",
        "activity_label": text(1, 2),
        "endings": [f" {text(2, 6)} [substeps]  {text(1, 3)}." for _ in range(4)],
        "label": str(draw.randrange(4)),
    }


def _truthfulqa(i: int, split: str, draw: random.Random, text: Any) -> Row:
    several = draw.randint(2, 5)
    long = 130 if i % 10 == 6 else 0  # cut off, answer and all
    choices = [text(1 + (90 if i % 10 == 3 else 0), 9 + (90 if i % 10 == 3 else 0)) for _ in range(several)]
    right = several - 1 if i % 4 == 2 else 0  # lm-eval takes the first for right all the same
    targets = {"choices": choices, "labels": [int(place == right) for place in range(several)]}
    return {
        "truth_id": i if split == "train" else FIRST_SCORED + i,
        "question": f"{text(3 + long, 8 + long)}  [x]?",
        **{f"mc1_targets_{key}": value for key, value in targets.items()},
        **{f"mc2_targets_{key}": value for key, value in targets.items()},
    }
