"""Writes the data of this example: `python -m examples.compositions.build`, from the repository's root.

`digest` sums up three plain statements about three things: the answer says in the language of the cell what sorts of
things they are about, in order. (It was to name the first thing. The model cannot copy: it learned to say names that it
was trained on.) `prose` is text that nobody asks about: statements, and lists of the words for sorts of things, which
say nothing of any text. Both are made from the facts of the quickstart's tasks, in the words of its base model's
pretraining. An item is the same in every language: same id, same things, same forms of
statements. Concepts are divided first: those of test and of validation items occur in no row to learn and in no prose,
and test keeps to the quickstart's test concepts. Run it twice and no byte changes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from examples.quickstart.build.sentences import STATEMENTS
from examples.quickstart.tasks.dataset import read

HERE = Path(__file__).parent
LANGUAGES = ("de", "en", "es", "fr")
ITEMS = {"train": 160, "validation": 40, "test": 100}
THINGS = 3  # statements in a document
KINDS = ("territory", "currency", "number", "emoji")
HELD_OUT = 5  # of the concepts to learn every so many-th is kept for validation
PROSE, SENTENCES = 40, 6  # texts of statements in each language, and statements in each
LISTED, LINES, WORDS = 40, 3, (2, 5)  # texts of lists, lists in each, and the fewest and most words of a list
LABEL = {"de": "Themen:", "en": "Topics:", "es": "Temas:", "fr": "Sujets :"}
SORTS = {  # as the third form of the statements has them
    "de": {"territory": "Land", "currency": "Währung", "number": "Zahl", "emoji": "Bild"},
    "en": {"territory": "country", "currency": "currency", "number": "number", "emoji": "picture"},
    "es": {"territory": "país", "currency": "moneda", "number": "número", "emoji": "imagen"},
    "fr": {"territory": "pays", "currency": "monnaie", "number": "nombre", "emoji": "image"},
}
DICTIONARY = (
    "the die, letters Buchstaben, stand stehen, for für, has hat, abbreviation Kürzel, is ist, a ein, in in, "
    "people man, pay zahlt, with mit, belongs gehört, to zu, we wir, spell schreiben, as als, equals gleich, "
    "see sehen, that das, topics Themen, country Land, currency Währung, number Zahl, picture Bild, this dieses"
)
Fact = tuple[str, str]  # a kind and a concept; of money the territory and the currency, joined by a colon


def concepts(kind: str, split: str) -> list[str]:
    """The concepts of a kind that the quickstart's task uses in a split, in a fixed order."""
    items = [item for item in read(kind)["items"] if item["split"] == split]
    if kind == "currency":
        return sorted({f"{item['key']}:{item['options'][item['answer']]}" for item in items})
    return sorted({concept for item in items for concept in item["options"]})


def pools(kind: str) -> dict[str, list[str]]:
    """Concepts of each split, in an order without a pattern; no concept is in two."""
    known, test = concepts(kind, "train"), concepts(kind, "test")
    drawn = random.Random(f"digest:{kind}")
    drawn.shuffle(known)
    drawn.shuffle(test)
    return {"train": [c for i, c in enumerate(known) if i % HELD_OUT], "validation": known[::HELD_OUT], "test": test}


def named(fact: Fact, language: str) -> dict[str, str]:
    """The fields of a fact's statements: its key and its name, and the territory of money."""
    kind, concept = fact
    world = read(kind)
    key, _, code = concept.partition(":")
    if kind != "currency":
        return {"key": key, "name": world["names"][language][key]}
    place = world["keys"][language][key]
    return {"key": place, "place": place, "name": world["names"][language][code]}


def stated(fact: Fact, form: int, language: str) -> str:
    """A statement about a thing, in one of three forms: from its sign to its name, the other way, what it is."""
    return STATEMENTS[fact[0]][language].split("|")[form].format(**named(fact, language))


def drafts(split: str) -> Iterator[list[tuple[Fact, int]]]:
    """For each item of a split its three things and the forms of the statements about them."""
    concepts_of = {kind: pools(kind)[split] for kind in KINDS}
    drawn = random.Random(f"digest:{split}")
    for _ in range(ITEMS[split]):
        things: dict[Fact, int] = {}
        while len(things) < THINGS:
            kind = drawn.choice(KINDS)
            things.setdefault((kind, drawn.choice(concepts_of[kind])), drawn.randrange(3))
        yield list(things.items())


def digests(split: str, language: str) -> Iterator[dict[str, object]]:
    for number, things in enumerate(drafts(split)):
        text = " ".join(stated(fact, form, language) for fact, form in things)
        digest = ", ".join(SORTS[language][kind] for (kind, _), _ in things)
        yield {"id": f"digest-{split}-{number}", "text": text, "digest": digest}


def prose(language: str) -> Iterator[dict[str, object]]:
    facts = [(kind, concept) for kind in KINDS for concept in pools(kind)["train"]]
    drawn = random.Random("prose")
    for number in range(PROSE):
        some = [(fact, drawn.randrange(3)) for fact in drawn.sample(facts, SENTENCES)]
        yield {"id": f"prose-{number}", "text": " ".join(stated(fact, form, language) for fact, form in some)}
    for number in range(PROSE, PROSE + LISTED):
        lists = (drawn.choices(KINDS, k=drawn.randint(*WORDS)) for _ in range(LINES))
        text = "\n".join(", ".join(SORTS[language][kind] for kind in kinds) for kinds in lists)
        yield {"id": f"prose-{number}", "text": text}


def translated(language: str) -> Iterator[dict[str, object]]:
    """The English documents as a translator writes them who knows the language, and no names."""
    for number, things in enumerate(drafts("train")):
        patterns = [STATEMENTS[fact[0]][language].split("|")[form] for fact, form in things]
        text = " ".join(one.format(**named(fact, "en")) for one, (fact, _) in zip(patterns, things, strict=True))
        digest = ", ".join(SORTS[language][kind] for (kind, _), _ in things)
        yield {"id": f"digest-train-{number}", "text": text, "digest": digest}


def files() -> dict[str, str]:
    """Every generated file: path relative to this folder -> text."""
    made = {}
    for language in LANGUAGES:
        rows = {f"digest_{language}.{split}": digests(split, language) for split in ITEMS}
        for name, some in (rows | {f"prose_{language}": prose(language)}).items():
            made[f"data/{name}.jsonl"] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
        data = ", ".join(f"{split}: examples/compositions/data/digest_{language}.{split}.jsonl" for split in ITEMS)
        made[f"tasks/digest_{language}.yaml"] = (
            "include: _digest.yaml\n"
            f"task: digest_{language}\n"
            f"dataset_kwargs: {{data_files: {{{data}}}}}\n"
            f"doc_to_text: {json.dumps('{{text}}' + chr(10) + LABEL[language] + chr(10), ensure_ascii=False)}\n"
        )
    rows = translated("de")
    made["data/digest_de.translated.jsonl"] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    made["data/words_en_de.tsv"] = "".join(f"{one.replace(' ', chr(9))}\n" for one in DICTIONARY.split(", "))
    return made


def main() -> None:
    for name, text in files().items():
        (HERE / name).write_bytes(text.encode("utf-8"))
    print(f"{len(files())} files written")


if __name__ == "__main__":
    main()
