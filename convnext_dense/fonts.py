"""Fonts for the names of classes, in any script that a font of this machine has.

matplotlib brings DejaVu Sans, which has Latin, Greek, Cyrillic and Arabic letters. For others an
installed font is taken that has most of them.
"""
from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

EMPTY = 'Last Resort'  # matplotlib's font of a box for every letter that there is


class Font(NamedTuple):
    """A font.

    Attributes:
        family (str): its name for matplotlib.
        path (str): its file.
    """
    family: str
    path: str


def font_of(text: str) -> Font:
    """The font for a text: DejaVu Sans where it has all letters or no other has more of them."""
    return _font_of(frozenset(map(ord, filter(str.isprintable, text))))


@lru_cache(maxsize=512)
def _font_of(letters):
    from matplotlib import font_manager
    best = Font('DejaVu Sans', font_manager.findfont('DejaVu Sans'))
    known = len(letters & _letters(best.path))
    for entry in font_manager.fontManager.ttflist if known < len(letters) else ():
        if entry.name.startswith(EMPTY):
            continue
        found = len(letters & _letters(entry.fname))
        if found > known:
            best, known = Font(entry.name, entry.fname), found
    return best


@cache
def _letters(path):
    from matplotlib.font_manager import get_font
    try:
        return get_font(path).get_charmap().keys()
    except (OSError, RuntimeError):  # a font that was removed, or of a kind that is not known
        return frozenset()
