"""The turns of a conversation that is learned, as a text: to count it where no chat template is at hand."""

from __future__ import annotations

import json

from study.data.example import Example


def said(example: Example) -> str:
    """What a model reads of an example; of a conversation what is said in its turns, without the template's marks."""
    if example.format != "messages":
        return example.prompt + example.answer
    turns = json.loads(example.answer)["messages"]
    calls = [json.dumps(turn["tool_calls"], ensure_ascii=False) for turn in turns if "tool_calls" in turn]
    return "\n".join([*(str(turn["content"]) for turn in turns if "content" in turn), *calls])


def asking(example: Example) -> list[str]:
    """What an example asks: its prompt, or what users say in a conversation."""
    if example.format != "messages":
        return [example.prompt]
    turns = json.loads(example.answer)["messages"]
    return [str(turn["content"]) for turn in turns if turn["role"] == "user" and "content" in turn]
