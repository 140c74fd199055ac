"""Writes this folder's data and tasks: `python -m examples.shapes.build`, from the repository's root.

All of it are facts of the quickstart's tasks, in the shapes that people's data have: questions with options as JSONL
with lm-eval YAML files, and the same questions as conversations and as prompts with completions. `--chat` writes the
quickstart's model with a chat template, which it has not, into runs/polyglot-chat. Run it twice and no byte changes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from examples.quickstart.tasks.dataset import SPLITS, rows

HERE = Path(__file__).parent
MODEL, CHAT_MODEL = HERE.parent / "quickstart" / "polyglot-nano", Path("runs/polyglot-chat")
KINDS = {  # what follows the key of a fact in each language
    "territory": {"de": "Land:", "en": "country:", "fr": "pays :"},
    "currency": {"de": "Währung:", "en": "currency:", "fr": "monnaie :"},
}
LANGUAGES = ("de", "en", "fr")
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def files() -> dict[str, str]:
    """Every generated file: path relative to this folder -> text."""
    made = {}
    for language in LANGUAGES:
        for kind, words in KINDS.items():
            for split in SPLITS:
                made[f"data/{kind}_{language}.{split}.jsonl"] = _lines(rows(kind, language, split))
            data = ", ".join(f"{split}: examples/shapes/data/{kind}_{language}.{split}.jsonl" for split in SPLITS)
            made[f"tasks/{kind}_{language}.yaml"] = (
                f"include: _questions.yaml\ntask: shapes_{kind}_{language}\n"
                f"dataset_kwargs: {{data_files: {{{data}}}}}\n"
                f"doc_to_text: {json.dumps('{{key}}, ' + words[language])}\n"
            )
        named = ", ".join(f"shapes_{kind}_{language}" for kind in KINDS)
        made[f"tasks/world_{language}.yaml"] = (
            f"group: world_{language}\ntask: [{named}]\n"
            "aggregate_metric_list:\n  - {metric: acc, aggregation: mean, weight_by_size: true}\n"
            "metadata: {version: 1.0}\n"
        )
        asked = [
            (f"{row['key']}, {KINDS['territory'][language]}", str(row["choices"][row["answer"]]))
            for row in rows("territory", language, "train")
        ]
        made[f"data/chats_{language}.jsonl"] = _lines(
            [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in asked]
        )
        made[f"data/pairs_{language}.jsonl"] = _lines([{"prompt": q, "completion": f" {a}"} for q, a in asked])
    return made


def write_chat_model(folder: Path) -> None:
    """A copy of the quickstart's model whose tokenizer has a chat template."""
    shutil.copytree(MODEL, folder, dirs_exist_ok=True)
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**stated, "chat_template": TEMPLATE}, indent=2) + "\n", encoding="utf-8")


def _lines(found: Sequence[dict[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chat", action="store_true", help=f"only write the model with a chat template: {CHAT_MODEL}")
    if parser.parse_args().chat:
        write_chat_model(CHAT_MODEL)
        print(f"{CHAT_MODEL} written")
        return
    for name, text in files().items():
        (HERE / name).write_bytes(text.encode("utf-8"))
    print(f"{len(files())} files written")


if __name__ == "__main__":
    main()
