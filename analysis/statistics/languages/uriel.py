"""Linguistic distances without a network: URIEL's feature vectors, as a small table beside this file.

Invariant: `uriel.csv` holds, bit for bit, the 0/1 vectors `syntax_knn`, `phonology_knn` and `inventory_knn` that
lang2vec 1.1.2 carries (`feature_predictions.npz`), for the languages with a two-letter code there and some more.
The package itself is not depended on: it needs an old setuptools and has no distance function. The vectors are
URIEL's (Littell et al. 2017, EACL; https://aclanthology.org/E17-2002), CC BY-SA 4.0, and so is the table.
Distances are cosine distances, as the reference study takes them.

`python -m analysis.statistics.languages.uriel FOLDER` makes the table again from the unpacked `lang2vec/data` folder.
"""

from __future__ import annotations

import csv
import json
import sys
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
FEATURES = {"syntax_knn": ("S_", 103), "phonology_knn": ("P_", 28), "inventory_knn": ("INV_", 158)}
PREFERRED = {"zh": "cmn"}  # the reference study's choice; lang2vec's own table says zho
ALIASES = {"arb": "ar", "cmn": "zh", "zho": "zh", "fas": "fa", "pes": "fa", "swh": "sw", "zsm": "ms"}
MORE = (
    "ace als arz ast awa azb ban bem bho bug ceb ckb crh dik dyu fil fon fur gsw haw hne hsb ilo kab kac kam kbp kea "
    "kmb knc lij lmo ltg lua luo lus mag mai min mni mos nds nso nus pag pap quy sat scn shn srn szl taq tgl tpi tum "
    "tzm umb vec war yue"
)
HEADER = (
    "# Feature vectors of the URIEL typological database (Littell et al. 2017), CC BY-SA 4.0, taken unchanged from\n"
    "# lang2vec 1.1.2, lang2vec/data/feature_predictions.npz; bits packed to hexadecimal, first feature first.\n"
)


def table_code(language: str) -> str:
    """The code under which a study's language is looked up: `pt_BR`, `pt-br` and `por` are all `pt`."""
    code = language.replace("_", "-").split("-")[0].lower()
    return ALIASES.get(code, _by_iso().get(code, code))


def vectors(feature: str) -> dict[str, Array]:
    """0/1 vector of every language of the table."""
    return _table()[feature]


def distances(languages: list[str], feature: str) -> Array:
    """Cosine distances between languages (L × L); NaN where the table lacks one."""
    known = vectors(feature)
    width = FEATURES[feature][1]
    stacked = np.array([known.get(table_code(name), np.full(width, np.nan)) for name in languages])
    norms = np.linalg.norm(stacked, axis=1)
    result: Array = 1 - (stacked @ stacked.T) / np.outer(norms, norms)
    return result


def unknown(languages: list[str]) -> list[str]:
    """The languages among these that the table lacks."""
    return [name for name in languages if table_code(name) not in vectors("syntax_knn")]


def known() -> list[tuple[str, str]]:
    """The code of every language of the table, and its code of ISO 639-3."""
    return [(row["language"], row["iso639_3"]) for row in _rows()]


@cache
def _rows() -> list[dict[str, str]]:
    text = (resources.files("analysis.statistics.languages") / "uriel.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


@cache
def _by_iso() -> dict[str, str]:
    """Of two rows of one language (`fr` and `fre`) the one of the shorter code."""
    return {row["iso639_3"]: row["language"] for row in sorted(_rows(), key=lambda row: -len(row["language"]))}


@cache
def _table() -> dict[str, dict[str, Array]]:
    return {name: {row["language"]: _bits(row[name], n) for row in _rows()} for name, (_, n) in FEATURES.items()}


def _bits(packed: str, n: int) -> Array:
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8))[:n].astype(float)


def derive(folder: Path) -> str:
    """The table's text from lang2vec's data folder."""
    codes = json.loads((folder / "letter_codes.json").read_text()) | PREFERRED
    data = np.load(folder / "feature_predictions.npz", allow_pickle=False)
    names, languages = data["feats"].astype(str), {name: i for i, name in enumerate(data["langs"].astype(str))}
    lines = [HEADER + ",".join(("language", "iso639_3", *FEATURES))]
    for language, iso in sorted({**{iso: iso for iso in MORE.split()}, **codes}.items()):
        if iso in languages:
            vector = data["data"][languages[iso], :, 0]
            packed = (vector[np.char.startswith(names, prefix)] for prefix, _ in FEATURES.values())
            lines.append(
                ",".join((language, iso, *(np.packbits(part.astype(bool)).tobytes().hex() for part in packed)))
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("uriel.csv").write_text(derive(Path(sys.argv[1])), encoding="utf-8")
