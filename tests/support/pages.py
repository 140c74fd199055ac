"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, groupby
from pathlib import Path

from tests.support.tiny_world import REPOSITORY

DOCS = REPOSITORY / "docs"
BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """`title` is the file that it is of, `place` where it stands, for people."""

    language: str
    title: str | None
    text: str
    place: str


def pages() -> list[Path]:
    """Every page of the site."""
    elsewhere = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    return [
        *(REPOSITORY / name for name in elsewhere),
        *sorted(DOCS.glob("*.md")),
        *sorted((REPOSITORY / "examples").glob("*/README.md")),
    ]


def blocks(*languages: str, of: list[Path] | None = None) -> list[Block]:
    """The blocks in these languages, page by page."""
    found = []
    for page in of or pages():
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            place = f"{page.relative_to(REPOSITORY)}:{text.count(chr(10), 0, match.start()) + 1}"
            found.append(Block(match["language"], match["title"], match["text"], place))
    return [block for block in found if block.language in languages]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell's text, without variables that are set before it, and comments."""
    for line in text.replace("\\\n", " ").splitlines():
        read = shlex.shlex(line, posix=True, punctuation_chars=True)
        read.whitespace_split = True
        ended = ";"
        for ends, words in groupby(read, key=lambda word: set(word) <= set(";&|<>()")):
            if ends:
                ended = "".join(words)
            elif ended not in ("<", ">"):  # where a file's name follows
                yield from filter(None, [list(dropwhile(lambda word: re.match(r"\w+=", word), words))])
