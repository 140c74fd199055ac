"""Writes the data of this example: facts about capitals in three languages, in the shapes that people's data have.

`python examples/shapes/build.py`, from the repository's root. All of it is made from the table below.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

HERE = Path(__file__).parent
PLACES = {  # country and capital in each language
    "de": "Frankreich Paris, Italien Rom, Spanien Madrid, Polen Warschau, Russland Moskau, China Peking, Japan Tokio, "
    "Ägypten Kairo, Griechenland Athen, Portugal Lissabon, Österreich Wien, Ungarn Budapest, Norwegen Oslo, "
    "Schweden Stockholm, Finnland Helsinki, Irland Dublin, Peru Lima, Kuba Havanna, Kenia Nairobi, Iran Teheran, "
    "Irak Bagdad, Indien Delhi, Kanada Ottawa, Türkei Ankara",
    "en": "France Paris, Italy Rome, Spain Madrid, Poland Warsaw, Russia Moscow, China Beijing, Japan Tokyo, "
    "Egypt Cairo, Greece Athens, Portugal Lisbon, Austria Vienna, Hungary Budapest, Norway Oslo, "
    "Sweden Stockholm, Finland Helsinki, Ireland Dublin, Peru Lima, Cuba Havana, Kenya Nairobi, Iran Tehran, "
    "Iraq Baghdad, India Delhi, Canada Ottawa, Turkey Ankara",
    "ru": "Франция Париж, Италия Рим, Испания Мадрид, Польша Варшава, Россия Москва, Китай Пекин, Япония Токио, "
    "Египет Каир, Греция Афины, Португалия Лиссабон, Австрия Вена, Венгрия Будапешт, Норвегия Осло, "
    "Швеция Стокгольм, Финляндия Хельсинки, Ирландия Дублин, Перу Лима, Куба Гавана, Кения Найроби, Иран Тегеран, "
    "Ирак Багдад, Индия Дели, Канада Оттава, Турция Анкара",
}
SAID = {  # a fact, a longer one, and the question
    "de": ("{0}: Hauptstadt {1}.", "Die Hauptstadt von {0} ist {1}, eine alte Stadt.", "Hauptstadt von {0}?"),
    "en": ("{0}: capital {1}.", "The capital of {0} is {1}, an old city.", "Capital of {0}?"),
    "ru": ("{0}: столица {1}.", "Столица страны {0} это {1}, старый город.", "Столица страны {0}?"),
}
HELD_OUT = 12  # places that are scored, and not in the training rows


def write(name: str, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (HERE / "data" / name).write_text(text, encoding="utf-8")


def main() -> None:
    for language, listed in PLACES.items():
        places = [tuple(place.strip().split(" ")) for place in listed.split(",")]
        short, long, question = SAID[language]
        facts = [
            {
                "id": i,
                "text": long.format(*p),
                "summary": short.format(*p),
                "prompt": question.format(*p),
                "completion": f" {p[1]}",
            }
            for i, p in enumerate(places)
        ]
        drawn = random.Random(3)
        claims = []
        for i, (country, capital) in enumerate(places):
            true = i % 2 == 0
            other = drawn.choice([p[1] for p in places if p[1] != capital])
            claims.append({"id": i, "claim": short.format(country, capital if true else other), "true": int(true)})
        write(f"facts_{language}.train.jsonl", facts[:HELD_OUT] * 2)
        write(f"facts_{language}.test.jsonl", facts[HELD_OUT:])
        write(f"claims_{language}.train.jsonl", claims[:HELD_OUT])
        write(f"claims_{language}.test.jsonl", claims[HELD_OUT:])
        prose = " ".join(fact["text"] for fact in facts)
        write(
            f"prose_{language}.jsonl", [{"text": f"{part} {prose}"} for part in (short.format(*p) for p in places[:6])]
        )


if __name__ == "__main__":
    main()
