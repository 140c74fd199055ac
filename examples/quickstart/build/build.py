"""Build the quickstart tasks: `python -m examples.quickstart.build.build`.

Four tasks in eleven languages from the facts in `sources.py`; every item exists in every language with the same
id, the same options and the same gold. Train and test never share a meaning: concepts are divided first, and
keys, golds and distractors of a split come from its own half, in all languages. A territory is in the same half
in both tasks that use territories. Distractors are near misses (a digit changed, a letter of the code
shared, the same kind of money, the neighbouring picture), and the gold stands equally often in each place.
The output is a pure function of the packages' versions: run it twice and no byte changes.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from examples.quickstart.build import sources
from examples.quickstart.build.phrases import QUESTIONS

HERE = Path(__file__).resolve().parents[1] / "tasks"
N_TRAIN, N_TEST, N_OPTIONS = 160, 100, 4
SHARED_PER_CURRENCY = 6  # how many territories may stand for the euro, the dollar … in train
Item = dict[str, Any]


def shuffled(values: Iterable[str], salt: str) -> list[str]:
    """A fixed order without a pattern; the same on every machine."""
    return sorted(values, key=lambda value: (random.Random(f"{salt}:{value}").random(), value))


def near(gold: str, pool: Iterable[str], distance: Callable[[str, str], float], salt: str) -> list[str]:
    """The three nearest other concepts of the pool; ties fall in a fixed random order."""
    others = shuffled((c for c in pool if c != gold), f"{salt}:{gold}")
    return sorted(others, key=lambda other: distance(gold, other))[: N_OPTIONS - 1]


def lay_out(task: str, split: str, drafts: Sequence[tuple[str, str, str, list[str]]]) -> list[Item]:
    """Items from (id, key, gold, distractors): gold positions in turn, so that each is used equally often."""
    items = []
    for index, (item_id, key, gold, distractors) in enumerate(drafts):
        options = list(distractors)
        options.insert(index % N_OPTIONS, gold)
        items.append({"id": item_id, "split": split, "key": key, "options": options, "answer": index % N_OPTIONS})
    order = shuffled((item["id"] for item in items), f"{task}:{split}")
    return sorted(items, key=lambda item: order.index(item["id"]))


def own_money() -> dict[str, list[str]]:
    """Territory -> the currencies that it alone uses or used."""
    tender = sources.tender()
    users = Counter(code for codes in tender.values() for code in codes)
    return {place: [c for c in codes if users[c] == 1 and c[:2] == place] for place, codes in tender.items()}


def places() -> tuple[list[str], list[str]]:
    """(train, test) territories. Test ones have money of their own, so that no currency is on both sides."""
    own = own_money()
    test = shuffled((place for place, codes in own.items() if codes), "places")[:N_TEST]
    return sorted(set(own) - set(test)), test


def territory() -> list[Item]:
    """ISO 3166 code -> name of the territory."""

    def letters(a: str, b: str) -> float:
        return -2 * (a[0] == b[0]) - (a[1] == b[1]) - 0.5 * len(set(a) & set(b))

    items = []
    for split, pool, count in (("train", places()[0], N_TRAIN), ("test", places()[1], N_TEST)):
        chosen = shuffled(pool, "territory")[:count]
        drafts = [(f"territory-{c}", c, c, near(c, pool, letters, "territory")) for c in chosen]
        items += lay_out("territory", split, drafts)
    return items


def currency() -> list[Item]:
    """Territory -> a currency that is or was legal tender there; no distractor ever was."""
    tender, english = sources.tender(), sources.currencies()["en"]
    train, test = places()
    items = []
    for split, money, count in (
        ("train", {place: tender[place] for place in train}, N_TRAIN),
        ("test", {place: own_money()[place] for place in test}, N_TEST),
    ):
        pool = sorted({code for codes in money.values() for code in codes})
        seen: Counter[str] = Counter()
        drafts = []
        for place, code in ((p, c) for p in shuffled(money, "currency") for c in money[p]):
            seen[code] += 1
            if seen[code] > SHARED_PER_CURRENCY:
                continue

            def kind(a: str, b: str) -> float:
                return -2.0 * (english[a].split()[-1] == english[b].split()[-1]) - (a[2] == b[2])

            foreign = [c for c in pool if c not in tender[place]]
            drafts.append((f"currency-{place}-{code}", place, code, near(code, foreign, kind, f"currency:{place}")))
        items += lay_out("currency", split, drafts[:count])
    return items


def number() -> list[Item]:
    """Digits -> words. Distractors differ in as few digits as the split's half of the numbers allows."""

    def digits(a: str, b: str) -> float:
        if len(a) != len(b):
            return 9.0
        return sum(x != y for x, y in zip(a, b, strict=True)) - 0.5 * (sorted(a) == sorted(b))

    halves = shuffled((str(n) for n in sources.NUMBERS if n >= 13), "number")
    cut = 2 * len(halves) // 5
    items = []
    for split, pool, count in (("train", halves[cut:], N_TRAIN), ("test", halves[:cut], N_TEST)):
        drafts = [(f"number-{n}", n, n, near(n, pool, digits, "number")) for n in pool[:count]]
        items += lay_out("number", split, drafts)
    return items


def emoji() -> list[Item]:
    """Emoji -> its name. Distractors are neighbours in Unicode's order, which goes by subject."""

    def apart(a: str, b: str) -> float:
        return float(abs(ord(a) - ord(b)))

    halves = shuffled(sources.pictures()["en"], "emoji")
    cut = 3 * len(halves) // 8
    items = []
    for split, pool, count in (("train", halves[cut:], N_TRAIN), ("test", halves[:cut], N_TEST)):
        drafts = [(f"emoji-{ord(c):x}", c, c, near(c, pool, apart, "emoji")) for c in pool[:count]]
        items += lay_out("emoji", split, drafts)
    return items


BUILDERS: dict[str, Callable[[], list[Item]]] = {
    "territory": territory,
    "currency": currency,
    "number": number,
    "emoji": emoji,
}
NAMES = {
    "territory": sources.territories,
    "currency": sources.currencies,
    "number": sources.numbers,
    "emoji": sources.pictures,
}


def world(task: str) -> dict[str, Any]:
    """The data file of a task, as `dataset.py` reads it."""
    items = BUILDERS[task]()
    used = sorted({concept for item in items for concept in item["options"]})
    names = {lang: {c: table[c] for c in used} for lang, table in NAMES[task]().items()}
    keys: dict[str, sources.Names] = {}
    if task == "currency":  # asked about a territory, by its name in the language of the cell
        asked = sorted({item["key"] for item in items})
        keys = {lang: {c: table[c] for c in asked} for lang, table in sources.territories().items()}
    return {"task": task, "sources": sources.versions(), "keys": keys, "names": names, "items": items}


def files() -> dict[str, str]:
    """Every generated file: path relative to this folder -> text."""
    out = {f"data/{task}.json": json.dumps(world(task), ensure_ascii=False, indent=0) + "\n" for task in BUILDERS}
    for task, questions in QUESTIONS.items():
        for lang, question in questions.items():
            out[f"cells/{task}_{lang}.yaml"] = (
                "include: ../_base.yaml\n"
                f"task: {task}_{lang}\n"
                f"dataset_kwargs: {{task: {task}, language: {lang}}}\n"
                f"doc_to_text: {json.dumps(question, ensure_ascii=False)}\n"
            )
    return out


def main() -> None:
    for name, text in files().items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
    print(f"{len(files())} files written")


if __name__ == "__main__":
    main()
