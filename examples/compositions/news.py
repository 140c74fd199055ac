"""News and what sums it up, of your own copy of MasakhaNEWS or XL-Sum, as JSONL: article and headline, or summary.

    python -m examples.compositions.news masakhanews masakhane-news/data      # a clone of masakhane-io/masakhane-news
    python -m examples.compositions.news xlsum xlsum/data                     # `hf download csebuetnlp/xlsum …`

Files of a language and split become `corpora/masakhanews_yor.test.jsonl`, `corpora/xlsum_yoruba.train.jsonl`, of rows
`{id, text, summary}`; the splits are train, validation and test. Rows without an article or without its summary are
left out and counted, and so are splits that a copy lacks. The articles are their publishers': this repository has none.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SPLITS = {"train": "train", "dev": "validation", "val": "validation", "test": "test"}
Row = Mapping[str, str | None]
Part = tuple[str, str, list[Row]]  # a language, a split, and what its file holds


def masakhanews(folder: Path) -> Iterator[Part]:
    """`<language>/{train,dev,test}.tsv`: quoted as CSV is, with the columns category, headline, text and url."""
    csv.field_size_limit(sys.maxsize)
    for file in sorted(folder.glob("*/*.tsv")):
        if file.stem in SPLITS:
            with file.open(newline="", encoding="utf-8-sig") as source:
                rows: list[Row] = list(csv.DictReader(source, dialect="excel-tab"))
            yield file.parent.name, SPLITS[file.stem], [{**row, "summary": row.get("headline")} for row in rows]


def xlsum(folder: Path) -> Iterator[Part]:
    """`<language>_XLSum_v2.0.tar.bz2` with `<language>_{train,val,test}.jsonl`: id, url, title, summary and text."""
    for file in sorted(folder.glob("*_XLSum_v2.0.tar.bz2")):
        with tarfile.open(file) as archive:
            for member in archive:
                language, _, split = Path(member.name).stem.rpartition("_")
                content = archive.extractfile(member) if split in SPLITS else None
                if content is not None:
                    lines = io.TextIOWrapper(content, encoding="utf-8")
                    yield language, SPLITS[split], [json.loads(line) for line in lines if line.strip()]


def told(rows: Iterable[Row], name: str) -> Iterator[dict[str, str]]:
    """The rows that have both, each with an id of its own."""
    for number, row in enumerate(rows):
        text, summary = ((row.get(column) or "").strip() for column in ("text", "summary"))
        if text and summary:
            yield {"id": str(row.get("id") or f"{name}-{number}"), "text": text, "summary": summary}


READERS = {"masakhanews": masakhanews, "xlsum": xlsum}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=READERS)
    parser.add_argument("folder", type=Path, help="where your copy lies")
    parser.add_argument("--out", type=Path, default=Path("corpora"), help="where the rows go (default: corpora)")
    given = parser.parse_args(arguments)
    written: dict[str, set[str]] = {}
    for language, split, rows in READERS[given.corpus](given.folder):
        name = f"{given.corpus}_{language}"
        kept = list(told(rows, f"{language}-{split}"))
        given.out.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        (given.out / f"{name}.{split}.jsonl").write_text(text, encoding="utf-8")
        written.setdefault(name, set()).add(split)
        print(f"{name}.{split}.jsonl: {len(kept):,} rows, {len(rows) - len(kept):,} left out")
    for name, splits in written.items():
        if lacking := sorted(set(SPLITS.values()) - splits):
            print(f"{name}: your copy has no {', '.join(lacking)}")
    if not written:
        print(f"error: {given.folder}: no file of {given.corpus} lies here; see --help", file=sys.stderr)
    return 0 if written else 2


if __name__ == "__main__":
    sys.exit(main())
