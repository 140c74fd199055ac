"""The facts of the quickstart world, read from packages that carry Unicode CLDR.

A *concept* is a meaning that has a name in every language: a territory, a currency, a number, a
picture. Everything here is a table `{concept: name}` per language, and a concept is kept only if all
languages name it, so that items can be parallel: same ids, same options, same gold, eleven languages.
Nothing is random and nothing depends on the platform; the versions of the packages are recorded.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version

import emoji
from babel import Locale
from babel.core import get_global
from unicode_rbnf import RbnfEngine

LANGUAGES = ("ar", "de", "en", "es", "fr", "id", "it", "pt", "ru", "tr", "zh")
PACKAGES = ("babel", "emoji", "unicode-rbnf")
N_PICTURES = 320  # the pictures with the shortest names: basic vocabulary, and cheap to score
NUMBERS = range(1000)
NOT_PLACES = {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"}  # unions, pseudo-locales, "unknown"

Names = dict[str, str]  # concept -> name, in one language


def versions() -> dict[str, str]:
    """Versions of the packages the facts come from."""
    return {package: version(package) for package in PACKAGES}


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language)


def _named_everywhere(tables: dict[str, Names]) -> dict[str, Names]:
    """Drop concepts that some language does not name, or names like another concept."""
    shared = set.intersection(*(set(table) for table in tables.values()))
    for table in tables.values():
        owners: dict[str, list[str]] = {}
        for concept in shared:
            owners.setdefault(table[concept].casefold(), []).append(concept)
        shared -= {c for same in owners.values() if len(same) > 1 for c in same}
    return {lang: {c: table[c] for c in sorted(shared)} for lang, table in tables.items()}


@cache
def territories() -> dict[str, Names]:
    """ISO 3166 code -> name of the territory."""
    return _named_everywhere(
        {
            lang: {
                code: name
                for code, name in _locale(lang).territories.items()
                if re.fullmatch("[A-Z]{2}", code) and code not in NOT_PLACES
            }
            for lang in LANGUAGES
        }
    )


@cache
def currencies() -> dict[str, Names]:
    """ISO 4217 code -> name of the currency; names with years ("1962–1989") are left out."""
    tables = {lang: dict(_locale(lang).currencies) for lang in LANGUAGES}
    dated = {code for table in tables.values() for code, name in table.items() if re.search(r"\d", name)}
    return _named_everywhere(
        {lang: {code: name for code, name in table.items() if code not in dated} for lang, table in tables.items()}
    )


@cache
def tender() -> dict[str, tuple[str, ...]]:
    """Territory -> the currencies that are or were legal tender there, oldest first."""
    named = currencies()["en"]
    history = get_global("territory_currencies")
    return {
        place: tuple(dict.fromkeys(code for code, _, _, legal in history.get(place, ()) if legal and code in named))
        for place in territories()["en"]
    }


@cache
def numbers() -> dict[str, Names]:
    """Digits -> the number in words (CLDR's rule-based number formats, first rule set, no soft hyphens)."""
    engines = {lang: RbnfEngine.for_language(lang) for lang in LANGUAGES}
    return {
        lang: {str(n): engine.format_number(n).text.replace("\xad", "") for n in NUMBERS}
        for lang, engine in engines.items()
    }


@cache
def pictures() -> dict[str, Names]:
    """Emoji -> its name; one code point, no flags, clock faces, keycaps, letters or people of a skin tone."""
    for lang in LANGUAGES:
        emoji.config.load_language(lang)
    plain: dict[str, dict] = {}
    for char, names in emoji.EMOJI_DATA.items():
        bare = char.replace("\ufe0f", "")
        single = len(bare) == 1 and names["status"] == emoji.STATUS["fully_qualified"]
        if single and not re.search(r"\d|o[’']clock|thirty|Japan|button|_sign", names["en"]):
            plain[bare] = names
    tables = _named_everywhere(
        {lang: {c: names[lang].strip(":").replace("_", " ") for c, names in plain.items()} for lang in LANGUAGES}
    )
    short = sorted(tables["en"], key=lambda c: (sum(len(tables[lang][c]) for lang in LANGUAGES), c))[:N_PICTURES]
    return {lang: {c: tables[lang][c] for c in sorted(short)} for lang in LANGUAGES}
