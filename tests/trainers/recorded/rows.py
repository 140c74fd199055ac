"""Rows that TRL's trainer and ours are given, and the tokenizers that read them, alike for both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from tests.support.families import MARKS, make_tokenizer

RECORDED = Path(__file__).with_name("trl.json")
TEMPLATES = {"qwen2_5": "qwen", "qwen3": "qwen", "llama3": "llama", "gemma3": "gemma"}  # TRL's, and whose tokens
SHORT = 24  # tokens that rows are cut to


def _chat(*said: str, system: str | None = None) -> list[dict[str, str]]:
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
    return [{"role": "system", "content": system}, *turns] if system else turns


CHATS = [
    _chat("Is Wien the capital?", "Wien is.", "And Paris?", "It is, too."),
    _chat("Paris?", "Yes\nindeed", system="Be brief."),
    _chat("Ist das Österreich? 🎉", "Ja, Österreich.\n\nUnd zwar ganz.", "один два", "три"),
    _chat("  spaces  ", "  spaces  ", "more", "\tof them\n"),
]
PAIRS = [
    ("Is Wien the capital?", " It is."),
    ("Question: what is the capital of France? Answer: ", "Paris"),  # a space that ends the prompt
    ("Answer:", "Paris"),  # nothing between the two, so that tokens may join
    ("Pa", "ris"),
    ("Q: one\n", "\n two"),
    ("Österr", "eich 🎉"),
    ("", "Paris"),
]
TEXTS = ["the capital of Österreich is Wien", "один два три", " Paris ", "one"]


def rows_of(kind: str) -> list[dict[str, Any]]:
    """Rows of a kind, as TRL's trainer takes them."""
    if kind == "messages":
        return [{"messages": chat} for chat in CHATS]
    if kind == "turns":  # a prompt and a completion of turns
        return [{"prompt": chat[:-1], "completion": chat[-1:]} for chat in CHATS]
    if kind == "pairs":
        return [{"prompt": prompt, "completion": answer} for prompt, answer in PAIRS]
    return [{"text": text} for text in TEXTS]


def tokenizer_of(template: str, text: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a family whose chat template this is."""
    family = TEMPLATES[template]
    made = make_tokenizer(family)
    made.add_special_tokens({"additional_special_tokens": MARKS[family]})
    made.chat_template = text
    return made


def recorded() -> dict[str, Any]:
    return dict(json.loads(RECORDED.read_text(encoding="utf-8")))
