"""Writes what TRL's own SFTTrainer makes of rows: `python -m tests.trainers.recorded.trl`, where trl is installed.

TRL is no dependency: `pip install --no-deps --target build/trl trl==1.16.0`, and PYTHONPATH=build/trl:. do for this.
Tokens are `input_ids`, and learned is where `labels` are not -100, of the dataset that the trainer has prepared.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM

from tests.support.families import make_family
from tests.trainers.recorded.rows import RECORDED, SHORT, TEMPLATES, rows_of, tokenizer_of

WAYS: dict[str, list[dict[str, Any]]] = {  # what TRL is told, of each kind of rows
    "messages": [{}, {"assistant_only_loss": True}],
    "turns": [{}, {"completion_only_loss": False}],
    "pairs": [{}, {"completion_only_loss": False}],
    "text": [{}],
}
CUTS: list[dict[str, Any]] = [
    {"max_length": None},
    {"max_length": SHORT, "truncation_mode": "keep_start"},
    {"max_length": SHORT, "truncation_mode": "keep_end"},
]


def main() -> None:
    templates = Path(trl.__file__).with_name("chat_templates")
    found: dict[str, Any] = {"trl": trl.__version__, "templates": {}, "rows": []}
    for name in TEMPLATES:
        for marked in (False, True):
            text = (templates / f"{name}{'_training' if marked else ''}.jinja").read_text(encoding="utf-8")
            called = name + "+marks" * marked
            found["templates"][called] = {"family": name, "text": text}
            for kind in WAYS if not marked else ("messages",):
                for way in WAYS[kind]:
                    for cut in CUTS:
                        rows = _prepared(name, text, rows_of(kind), way | cut)
                        found["rows"].append({"template": called, "kind": kind, **way, **cut, "made": rows})
    RECORDED.write_text(
        json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace('{"template', '\n{"template')
    )


def _prepared(name: str, template: str, rows: list[dict[str, Any]], options: dict[str, Any]) -> list[Any]:
    """What each row comes to: its tokens, and how many from which on are learned; None of one that TRL leaves out."""
    tokenizer = tokenizer_of(name, template)
    with TemporaryDirectory() as folder:
        model = AutoModelForCausalLM.from_pretrained(make_family(TEMPLATES[name], Path(folder)))
        model.resize_token_embeddings(len(tokenizer))
        numbered = Dataset.from_list([{**row, "number": i} for i, row in enumerate(rows)])
        args = trl.SFTConfig(output_dir=folder, report_to="none", use_cpu=True, bf16=False, **options)
        made = trl.SFTTrainer(model=model, args=args, train_dataset=numbered, processing_class=tokenizer).train_dataset
        there = {row["number"]: row for row in made}
    return [_told(there[i]) if i in there else None for i in range(len(rows))]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {"tokens": row["input_ids"], "learned": "".join("01"[label != -100] for label in row["labels"])}


if __name__ == "__main__":
    main()
