"""Where languages are spoken, what they descend from and how they are written, without a network: `places.csv`.

Invariant: families are, name by name, the ones that URIEL's `fam` vectors have (Littell et al. 2017, EACL, after
Glottolog) as lang2vec 1.1.2 carries them; places are those whose distances to URIEL's 299 points are the `geo` vectors,
to a hundredth of a degree. Both are CC BY-SA 4.0, and so is the table. Scripts are CLDR's likely ones, as Babel carries
them (Unicode License). Distances are as URIEL has them: genetic is the cosine's of the families, of which no language
without one has any; geographic the great circle as a share of the longest there is. Two scripts are one, or two.

`python -m analysis.statistics.languages.places FOLDER` makes the table again from the unpacked `lang2vec/data` folder.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from analysis.statistics.languages import uriel
from analysis.statistics.languages.uriel import Array, table_code

HEADER = (
    "# Families and places of the URIEL typological database (Littell et al. 2017, after Glottolog), CC BY-SA 4.0, "
    "taken\n# from lang2vec 1.1.2, lang2vec/data/family_features.npz and geocoord_features.npz; likely scripts of CLDR "
    "by Babel.\n"
    "language,iso639_3,latitude,longitude,script,families\n"
)
LETTERS = 4  # of a script's code


@dataclass(frozen=True)
class Place:
    """`families` from the widest to the narrowest, as URIEL names them; `script` by its four letters."""

    latitude: float
    longitude: float
    script: str
    families: frozenset[str]

    @property
    def direction(self) -> Array:
        """The unit vector from the middle of the earth."""
        return _direction(np.array([self.latitude, self.longitude]))


def _direction(degrees: Array) -> Array:
    latitude, longitude = np.moveaxis(np.radians(degrees), -1, 0)
    parts = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
    return np.stack(parts, axis=-1)


@cache
def _places() -> dict[str, Place]:
    text = (resources.files("analysis.statistics.languages") / "places.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {
        row["language"]: Place(
            float(row["latitude"]), float(row["longitude"]), row["script"], frozenset(row["families"].split(";")) - {""}
        )
        for row in rows
    }


def script_of(language: str) -> str | None:
    """How a language is written: by its own code (`sr_Latn`), else the likely script; None where that is not known."""
    parts = language.replace("_", "-").split("-")[1:]
    own = [part.title() for part in parts if len(part) == LETTERS and part.isascii() and part.isalpha()]
    place = _places().get(table_code(language))
    return own[0] if own else place.script or None if place else None


def likely_script(language: str, iso: str) -> str:
    """CLDR's, of either code, of the one that it has in its place, or of our table's for the same language."""
    from babel.core import get_global

    likely, instead = get_global("likely_subtags"), get_global("language_aliases")
    codes = [language, iso]
    codes += [instead[code] for code in codes if code in instead] + [table_code(iso)]
    found = [part for code in codes for part in (likely.get(code) or code).split("_")[1:2] if len(part) == LETTERS]
    return found[0] if found else ""


def genetic(languages: list[str]) -> Array:
    """Cosine distances of families (L × L), 0 to 1; NaN where a language is not in the table."""
    found = [_places().get(table_code(name)) for name in languages]
    result = np.full((len(found), len(found)), np.nan)
    for i, one in enumerate(found):
        for j, other in enumerate(found):
            if one is not None and other is not None:
                size = np.sqrt(len(one.families) * len(other.families))
                result[i, j] = 1 - len(one.families & other.families) / size if size else float(one is not other)
    return result


def geographic(languages: list[str]) -> Array:
    """Great-circle distances (L × L) as a share of half the way round, 0 to 1; NaN likewise."""
    nowhere = np.full(3, np.nan)
    found = (_places().get(table_code(name)) for name in languages)
    towards = np.array([nowhere if one is None else one.direction for one in found])
    return np.asarray(np.arccos(np.clip(towards @ towards.T, -1, 1)) / np.pi)


def scripts(languages: list[str]) -> Array:
    """0 where two languages are written in one script and 1 where not (L × L); NaN where a script is not known."""
    found = [script_of(name) for name in languages]
    return np.array([[np.nan if None in (a, b) else float(a != b) for b in found] for a in found])


def derive(folder: Path) -> str:
    """The table's text from lang2vec's data folder, and CLDR's likely scripts."""
    family, place = (np.load(folder / f"{name}_features.npz", allow_pickle=False) for name in ("family", "geocoord"))
    rows, at = ({name: row for row, name in enumerate(of["langs"].astype(str))} for of in (family, place))
    points = _direction(np.array([name.split("_")[1:] for name in place["feats"].astype(str)], np.float64))
    names, lines = family["feats"].astype(str), [HEADER.rstrip()]
    for language, iso in uriel.known():
        if iso not in at or not np.ptp(away := place["data"][at[iso], :, 0].astype(np.float64)):
            continue
        towards = np.linalg.lstsq(points, np.cos(np.pi * away), rcond=None)[0]
        towards /= np.linalg.norm(towards)
        latitude, longitude = np.degrees([np.arcsin(towards[2]), np.arctan2(towards[1], towards[0])])
        own = ";".join(name.removeprefix("F_") for name in names[family["data"][rows[iso], :, 0] > 0])
        lines.append(f"{language},{iso},{latitude:.2f},{longitude:.2f},{likely_script(language, iso)},{own}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("places.csv").write_text(derive(Path(sys.argv[1])), encoding="utf-8")
