"""Names in a figure's file that lie upon no other text: of two that would the first stays, as on the page.

The page measures texts where they are shown (`apart` of `assets.SCRIPT`); a file is shown anywhere, so here a letter
is as wide as a wide font's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from xml.etree import ElementTree

WIDE_EM, ABOVE_EM, BELOW_EM = 0.62, 0.8, 0.22  # a letter's width, and a line's height from its foot
MANY = 400  # names of a heat map: signs, which stand in their cells
SVG = "http://www.w3.org/2000/svg"
MOVED = re.compile(r"(translate|rotate)\(([^)]*)\)")
Box = tuple[float, float, float, float]  # left, top, right, bottom
Place = tuple[float, float, float]  # x, y and an angle


def apart(svg: str) -> str:
    """The figure without the names that would lie upon another text; itself where none does."""
    root = ElementTree.fromstring(svg)
    texts = list(_texts(root, (0.0, 0.0, 0.0), False))
    names = [(group, text, box) for group, text, box, is_name in texts if is_name]
    if len(names) > MANY:
        return svg
    there = [box for _, _, box, is_name in texts if not is_name]
    gone = []
    for group, text, box in names:
        if any(_meet(box, other) for other in there):
            gone.append((group, text))
        else:
            there.append(box)
    if not gone:
        return svg
    for group, text in gone:
        group.remove(text)
    ElementTree.register_namespace("", SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _texts(
    group: ElementTree.Element, at: Place, is_name: bool
) -> Iterator[tuple[ElementTree.Element, ElementTree.Element, Box, bool]]:
    """Every text that is seen, with the element that holds it, where it is, and whether it is a name of a mark."""
    is_name = is_name or {"mark-text", "role-mark"} <= set(group.get("class", "").split())
    for one in group:
        if one.get("opacity") == "0":
            continue
        here = _moved(at, one.get("transform", ""))
        if one.tag == f"{{{SVG}}}text":
            if "".join(one.itertext()).strip():
                yield group, one, _box(one, here), is_name
        else:
            yield from _texts(one, here, is_name)


def _moved(at: Place, transform: str) -> Place:
    x, y, angle = at
    for how, numbers in MOVED.findall(transform):
        first, *second = (float(number) for number in re.split(r"[ ,]+", numbers.strip()))
        if how == "rotate":
            angle += first
            continue
        right, down, turn = first, second[0] if second else 0.0, math.radians(angle)
        x += right * math.cos(turn) - down * math.sin(turn)
        y += right * math.sin(turn) + down * math.cos(turn)
    return x, y, angle


def _box(text: ElementTree.Element, at: Place) -> Box:
    """Around a text as it is turned; of several lines around all."""
    size = float(re.sub(r"[^\d.]", "", text.get("font-size", "")) or 11)
    lines = [line for line in (text.text, *(one.text for one in text)) if line]
    wide = WIDE_EM * size * max(map(len, lines))
    left = {"middle": -wide / 2, "end": -wide}.get(text.get("text-anchor", ""), 0.0)
    top, bottom = -ABOVE_EM * size, BELOW_EM * size + size * 1.2 * (len(lines) - 1)
    x, y, angle = at
    turn = math.radians(angle)
    corners = [
        (x + across * math.cos(turn) - down * math.sin(turn), y + across * math.sin(turn) + down * math.cos(turn))
        for across in (left, left + wide)
        for down in (top, bottom)
    ]
    across, down = zip(*corners, strict=True)
    return min(across), min(down), max(across), max(down)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
