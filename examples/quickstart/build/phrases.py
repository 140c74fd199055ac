"""How each task asks its question in each language: what is asked about, a comma, what is wanted, a colon.

`{{key}}` is a code, a number in digits, an emoji, or the name of a territory in the language of the cell. The key
stands first and alone, so that no language needs a rule of grammar, and the label says both the task and the language.
"""

from __future__ import annotations

LABELS: dict[str, dict[str, str]] = {
    "territory": {
        "ar": "البلد",
        "de": "Land",
        "en": "country",
        "es": "país",
        "fr": "pays",
        "id": "negara",
        "it": "paese",
        "pt": "país",
        "ru": "страна",
        "tr": "ülke",
        "zh": "国家",
    },
    "currency": {
        "ar": "العملة",
        "de": "Währung",
        "en": "currency",
        "es": "moneda",
        "fr": "monnaie",
        "id": "mata uang",
        "it": "valuta",
        "pt": "moeda",
        "ru": "валюта",
        "tr": "para birimi",
        "zh": "货币",
    },
    "number": {
        "ar": "العدد بالكلمات",
        "de": "Zahl in Worten",
        "en": "number in words",
        "es": "número en letras",
        "fr": "nombre en lettres",
        "id": "angka dalam huruf",
        "it": "numero in lettere",
        "pt": "número por extenso",
        "ru": "число словами",
        "tr": "yazıyla sayı",
        "zh": "数字的写法",
    },
    "emoji": {
        "ar": "الصورة",
        "de": "Bild",
        "en": "image",
        "es": "imagen",
        "fr": "image",
        "id": "gambar",
        "it": "immagine",
        "pt": "imagem",
        "ru": "картинка",
        "tr": "resim",
        "zh": "图片",
    },
}
COMMA = {"ar": "، ", "zh": "，"}
COLON = {"fr": " :", "zh": "："}

QUESTIONS: dict[str, dict[str, str]] = {
    task: {lang: "{{key}}" + COMMA.get(lang, ", ") + label + COLON.get(lang, ":") for lang, label in labels.items()}
    for task, labels in LABELS.items()
}
