"""What MkDocs does not do by itself: pages that lie elsewhere in the repository, and links between the two.

Links are written as they work among the files. A link to a file that is a page leads to that page; one to another file
of the repository, which the site does not have, is left as its text. One to nothing stays, and ends the build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/quickstart/README.md": "examples/quickstart.md",
    "examples/compositions/README.md": "examples/compositions.md",
    "examples/shapes/README.md": "examples/shapes.md",
}
ORIGINS = {page: origin for origin, page in PAGES.items()}
LINK = re.compile(r"(?P<is_image>!?)\[(?P<text>[^\]]*)\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    for origin, page in PAGES.items():
        files.append(File.generated(config, page, content=(REPOSITORY / origin).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page's text with links that work on the site."""
    uri = page.file.src_uri
    return linked(markdown, uri, ORIGINS.get(uri, f"docs/{uri}"))


def linked(markdown: str, uri: str, origin: str) -> str:
    """The text of a page at `uri` of the site that lies at `origin` in the repository."""
    here = PurePosixPath(origin).parent

    def replaced(link: re.Match[str]) -> str:
        path = os.path.normpath(here / link["path"])
        page = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if page is not None:
            at = os.path.relpath(page, PurePosixPath(uri).parent)
            return f"{link['is_image']}[{link['text']}]({at}{link['anchor'] or ''})"
        return link["text"] if (REPOSITORY / path).exists() else link[0]

    return LINK.sub(replaced, markdown)
