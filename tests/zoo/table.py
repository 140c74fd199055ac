"""The outcomes of the walks as a page: what works, what is refused and in which words.

python -m tests.zoo.table TYPES.jsonl KINDS.jsonl > docs/models.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support import peft_zoo, zoo
from tests.zoo.outcome import Outcome, Step, read

TYPE_COLUMNS = ("base", "trained", "loads in PEFT", "adapter")
KIND_COLUMNS = ("32 itself", "32 next", "32 base", "32 banked", "b16 itself", "b16 next", "b16 base", "b16 banked")


def cell(step: Step | None) -> str:
    if step is None:
        return "–"
    if step.outcome == "wrong":
        return f"**wrong by {step.off:.2g}**"
    return {"right": "right", "refused": "refused", "crashed": "**crashed**"}[step.outcome]


def words(found: Outcome) -> str:
    """What was said first where it did not go through."""
    said = next((step for step in found.steps.values() if step.words), None)
    if said is None:
        return ""
    short = re.sub(r"/\S*/(model|adapter|store|trained)\S*", r"…/\1", said.words)
    return short.replace("|", "\\|")[:160]


def rows(outcomes: Iterable[Outcome], columns: tuple[str, ...]) -> Iterable[str]:
    for found in outcomes:
        made = found.steps.get("made")
        if made is not None and made.outcome != "right":
            yield (
                f"| {found.name} | " + " | ".join("–" for _ in columns) + f" | PEFT does not make it: {words(found)} |"
            )
            continue
        yield f"| {found.name} | " + " | ".join(cell(found.steps.get(c)) for c in columns) + f" | {words(found)} |"


def head(first: str, columns: tuple[str, ...]) -> Iterable[str]:
    yield f"| {first} | " + " | ".join(columns) + " | words |"
    yield "|---" * (len(columns) + 2) + "|"


def page(types: Path, kinds: Path) -> Iterable[str]:
    found = read(types)
    yield "# Models and adapters\n"
    yield "Tiny random models and adapters of every type and kind that the installed transformers and PEFT know,"
    yield "beside lm-eval and PEFT.\n"
    yield "## Types of models\n"
    yield from head("type", TYPE_COLUMNS)
    yield from rows((found[kind] for kind in zoo.TYPES if kind in found), TYPE_COLUMNS)
    yield from (f"| {kind} | not made: {reason} |" + " |" * 4 for kind, reason in zoo.NOT_MADE.items())
    yield "\n## Kinds of adapters\n"
    found = read(kinds)
    for base in peft_zoo.PLACES:
        own = [one for name, one in found.items() if name.startswith(f"{base}: ")]
        if own:
            yield f"\n### {base}\n"
            yield from head("kind", KIND_COLUMNS)
            yield from rows((Outcome(one.name.partition(": ")[2], one.steps) for one in own), KIND_COLUMNS)


if __name__ == "__main__":
    print("\n".join(page(Path(sys.argv[1]), Path(sys.argv[2]))))
