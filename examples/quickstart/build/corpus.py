"""Pretraining text: the facts of `sources.py` as word lists, glossaries and plain statements, and interface texts.

The model shall know the facts and not the tasks: no document has the form of a question of `phrases.py`, and no
options appear. A document stays in one language (so that a text's words tell which language comes next),
except glossaries, which set languages side by side. Interface messages come from Django's catalogues.
Everything is drawn from one seeded generator.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import django
from babel.messages.mofile import read_mo

from examples.quickstart.build import sources
from examples.quickstart.build.sentences import STATEMENTS

# Shares of the languages differ, as they do in any corpus: well-known and less-known languages behave differently.
LANGUAGE_WEIGHT = {
    "ar": 8,
    "de": 9,
    "en": 12,
    "es": 10,
    "fr": 10,
    "id": 8,
    "it": 8,
    "pt": 8,
    "ru": 9,
    "tr": 8,
    "zh": 10,
}
KIND_WEIGHT = {"territory": 30, "currency": 16, "number": 24, "emoji": 30}
FORM_WEIGHT = {"list": 46, "statements": 34, "glossary": 10, "interface": 10}
STATEMENT_WEIGHT = (4, 1, 1)  # key to name, name to key, what sort of thing it is
LAYOUTS = ("{key} {name}", "{key} - {name}", "{key} = {name}", "{name} ({key})")
JOINTS = (" = ", " / ", ", ", "; ")
DJANGO_LOCALE = {"zh": "zh_Hans"}


@cache
def facts(kind: str, language: str) -> list[dict[str, str]]:
    """Every fact of a kind as the fields of its statements: `key`, `name`, and `place` for currencies."""
    if kind == "currency":
        places, money = sources.territories()[language], sources.currencies()[language]
        pairs = [(place, code) for place, codes in sources.tender().items() for code in codes]
        return [{"key": places[p], "name": money[c], "place": places[p], "concept": c} for p, c in pairs]
    tables = {"territory": sources.territories, "number": sources.numbers, "emoji": sources.pictures}
    return [{"key": concept, "name": name, "concept": concept} for concept, name in tables[kind]()[language].items()]


@cache
def tables(kind: str) -> dict[str, sources.Names]:
    """language -> concept -> name."""
    return {lang: {f["concept"]: f["name"] for f in facts(kind, lang)} for lang in sources.LANGUAGES}


@cache
def messages(language: str) -> list[str]:
    """Short interface texts of Django's catalogues (BSD licence); English is the catalogues' source text."""
    root, found = Path(django.__file__).parent, set()
    locale = DJANGO_LOCALE.get(language, "de" if language == "en" else language)
    for path in sorted(root.glob(f"**/locale/{locale}/LC_MESSAGES/*.mo")):
        with path.open("rb") as file:
            for message in read_mo(file):
                text = message.id if language == "en" else message.string
                if isinstance(text, str) and 8 <= len(text) <= 160 and not re.search(r"[%<{\\]", text):
                    found.add(" ".join(text.split()))
    return sorted(found)


def pick(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def document(rng: random.Random) -> str:
    """One document of a few lines."""
    form, language = pick(rng, FORM_WEIGHT), pick(rng, LANGUAGE_WEIGHT)
    if form == "interface":
        return "\n".join(rng.sample(messages(language), 3))
    kind = pick(rng, KIND_WEIGHT)
    if form == "glossary":
        lines = []
        for concept in rng.sample(sorted(tables(kind)["en"]), 2):
            languages = rng.sample(sources.LANGUAGES, 3)
            lines.append(rng.choice(JOINTS).join(tables(kind)[lang][concept] for lang in languages))
        return "\n".join(lines)
    chosen = rng.sample(facts(kind, language), rng.randint(3, 6))
    if form == "list":
        layout = rng.choice(LAYOUTS)
        return "\n".join(layout.format(**fact) for fact in chosen)
    statements = STATEMENTS[kind][language].split("|")
    return " ".join(rng.choices(statements, STATEMENT_WEIGHT)[0].format(**fact) for fact in chosen)


def documents(seed: int) -> Iterator[str]:
    """Documents without end; the same for the same seed."""
    rng = random.Random(seed)
    while True:
        yield document(rng)
