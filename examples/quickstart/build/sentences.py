"""Plain statements of the facts, for pretraining; none of them is a question of `phrases.py`.

Per kind of fact and language: statements joined by `|`. `{key}` is the code, number or emoji, `{name}` its name;
for currencies `{place}` is the territory. The first goes from key to
name, the second back, the third says what sort of thing it is.
"""

from __future__ import annotations

STATEMENTS: dict[str, dict[str, str]] = {
    "territory": {
        "ar": "الحرفان {key} يعنيان {name}.|{name} رمزها {key}.|{name} بلد.",
        "de": "Die Buchstaben {key} stehen für {name}.|{name} hat das Kürzel {key}.|{name} ist ein Land.",
        "en": "The letters {key} stand for {name}.|{name} has the abbreviation {key}.|{name} is a country.",
        "es": "Las letras {key} significan {name}.|{name} tiene la sigla {key}.|{name} es un país.",
        "fr": "Les lettres {key} signifient {name}.|{name} a pour sigle {key}.|{name} est un pays.",
        "id": "Huruf {key} berarti {name}.|{name} disingkat {key}.|{name} adalah negara.",
        "it": "Le lettere {key} significano {name}.|{name} ha la sigla {key}.|{name} è un paese.",
        "pt": "As letras {key} significam {name}.|{name} tem a sigla {key}.|{name} é um país.",
        "ru": "Буквы {key} означают {name}.|{name} имеет сокращение {key}.|{name} это страна.",
        "tr": "{key} harfleri {name} demektir.|{name} kısaca {key}.|{name} bir ülkedir.",
        "zh": "字母{key}代表{name}。|{name}的缩写是{key}。|{name}是国家。",
    },
    "currency": {
        "ar": "في {place} يدفعون {name}.|{name} من {place}.|{name} عملة.",
        "de": "In {place} zahlt man mit {name}.|{name} gehört zu {place}.|{name} ist eine Währung.",
        "en": "In {place} people pay with {name}.|{name} belongs to {place}.|{name} is a currency.",
        "es": "En {place} se paga con {name}.|{name} es de {place}.|{name} es una moneda.",
        "fr": "En {place} on paie avec {name}.|{name} vient de {place}.|{name} est une monnaie.",
        "id": "Di {place} orang membayar dengan {name}.|{name} dari {place}.|{name} adalah mata uang.",
        "it": "In {place} si paga con {name}.|{name} viene da {place}.|{name} è una valuta.",
        "pt": "Em {place} paga-se com {name}.|{name} é de {place}.|{name} é uma moeda.",
        "ru": "Здесь {place}, здесь платят: {name}.|{name} отсюда: {place}.|{name} это валюта.",
        "tr": "{place} içinde ödeme {name} ile yapılır.|{name} burada: {place}.|{name} bir para birimidir.",
        "zh": "在{place}用{name}付款。|{name}来自{place}。|{name}是货币。",
    },
    "number": {
        "ar": "نكتب {key} هكذا {name}.|{name} يساوي {key}.|{name} عدد.",
        "de": "Man schreibt {key} als {name}.|{name} ist gleich {key}.|{name} ist eine Zahl.",
        "en": "We spell {key} as {name}.|{name} equals {key}.|{name} is a number.",
        "es": "Se escribe {key} como {name}.|{name} es igual a {key}.|{name} es un número.",
        "fr": "On écrit {key} comme {name}.|{name} est égal à {key}.|{name} est un nombre.",
        "id": "Kita menulis {key} sebagai {name}.|{name} sama dengan {key}.|{name} adalah angka.",
        "it": "Si scrive {key} come {name}.|{name} è uguale a {key}.|{name} è un numero.",
        "pt": "Escreve-se {key} como {name}.|{name} é igual a {key}.|{name} é um número.",
        "ru": "Мы пишем {key} как {name}.|{name} равно {key}.|{name} это число.",
        "tr": "{key} şöyle yazılır {name}.|{name} eşittir {key}.|{name} bir sayıdır.",
        "zh": "{key}写作{name}。|{name}等于{key}。|{name}是数字。",
    },
    "emoji": {
        "ar": "نرى {key} وهو {name}.|{name} يبدو {key}.|{name} صورة.",
        "de": "Wir sehen {key}, das ist {name}.|{name} sieht so aus {key}.|{name} ist ein Bild.",
        "en": "We see {key}, that is {name}.|{name} looks like {key}.|{name} is a picture.",
        "es": "Vemos {key}, eso es {name}.|{name} se ve así {key}.|{name} es una imagen.",
        "fr": "On voit {key}, c’est {name}.|{name} ressemble à {key}.|{name} est une image.",
        "id": "Kita melihat {key}, itu {name}.|{name} terlihat seperti {key}.|{name} adalah gambar.",
        "it": "Vediamo {key}, cioè {name}.|{name} si vede così {key}.|{name} è un’immagine.",
        "pt": "Vemos {key}, isto é {name}.|{name} parece assim {key}.|{name} é uma imagem.",
        "ru": "Мы видим {key}, это {name}.|{name} выглядит так {key}.|{name} это картинка.",
        "tr": "{key} görüyoruz, bu {name}.|{name} böyle görünür {key}.|{name} bir resimdir.",
        "zh": "我们看到{key}，这是{name}。|{name}看起来像{key}。|{name}是图片。",
    },
}
