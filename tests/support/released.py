"""How the released code of the published study makes its training rows, written down anew from its description."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

MAX_LENGTH = {"arc_challenge": 256, "global_mmlu": 512, "hellaswag": 512, "truthfulqa": 128}
MASKED = -100


@dataclass(frozen=True)
class Released:
    """A text, and the row of tokens it becomes, padded; labels are -100 where nothing is learned."""

    text: str
    input_ids: list[int]
    attention_mask: list[int]
    labels: list[int]


def clean(text: str) -> str:
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def lettered(task: str, row: dict[str, Any]) -> tuple[str, str] | None:
    """Prompt and answer of the three tasks with letters; None for a row that is dropped."""
    if task == "hellaswag":
        begun = row["ctx_a"] + " " + row["ctx_b"].capitalize()
        head = clean(row["activity_label"] + ": " + begun)
        options, mark, right = [clean(one) for one in row["endings"]], ")", "ABCD"[int(row["label"])]
    else:
        options, right = [row[f"option_{letter}"] for letter in "abcd"], row["answer"]
        asked = row["instruction" if task == "arc_challenge" else "question"].strip()
        right = "ABCD"[right] if isinstance(right, int) else right
        head, mark = (f"Question: {asked}", ")") if task == "arc_challenge" else (asked, ".")
    if right not in "ABCD":
        return None
    lines = [f"{letter}{mark} {option}" for letter, option in zip("ABCD", options, strict=True)]
    return "\n".join([head, *lines, "Answer:"]), f" {right}"


def prompt_and_answer(task: str, row: dict[str, Any]) -> tuple[str, str] | None:
    """What is learned of a row; None for one that is dropped."""
    if task != "truthfulqa":
        return lettered(task, row)
    first = row["mc1_targets_labels"].index(1)
    return f"Question: {row['question']}\nAnswer:", f" {row['mc1_targets_choices'][first]}"


def released(task: str, row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> Released | None:
    longest = MAX_LENGTH[task]
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if (texts := prompt_and_answer(task, row)) is None:
        return None
    if task == "truthfulqa":
        text = "".join(texts)
        coded = tokenizer(text, truncation=True, max_length=longest, padding="max_length")
        ids, mask = coded["input_ids"], coded["attention_mask"]
        return Released(text, ids, mask, [one if seen else MASKED for one, seen in zip(ids, mask, strict=True)])
    prompt, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    ids, labels = (prompt + answer)[-longest:], ([MASKED] * len(prompt) + answer)[-longest:]
    missing = longest - len(ids)
    padded = ids + [tokenizer.pad_token_id] * missing
    return Released("".join(texts), padded, [1] * len(ids) + [0] * missing, labels + [MASKED] * missing)
