"""What a person may say about a source that its files do not."""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from convnext_dense.errors import InputError

Colour = tuple[int, int, int]
_NUMBERS = r'(?P<colour>\d{1,3})[,;\s]+(?P<green>\d{1,3})[,;\s]+(?P<blue>\d{1,3})'
_NAME_FIRST = re.compile(
    rf'\s*(?P<name>[^,;:\t]*[^,;:\t\d\s][^,;:\t]*?)\s*[,;:\t]\s*{_NUMBERS}(?!\d)')
_COLOUR_FIRST = re.compile(rf'\s*{_NUMBERS}[,;:\s]+(?P<name>\S.*)')
_WORDS_FIRST = re.compile(rf'\s*(?P<name>\S.*?)\s+{_NUMBERS}\s*')


class Options(NamedTuple):
    """Options of an import.

    Attributes:
        classes: class names of label maps, in the order of their values; None where unknown.
        colours: ``{(r, g, b): name}`` of colour masks; None where unknown.
        ignored: names of classes whose pixels are ignored.
    """
    classes: tuple[str, ...] | None = None
    colours: dict[Colour, str] | None = None
    ignored: tuple[str, ...] = ('void', 'ignore', 'ignored', 'unlabelled', 'unlabeled')


def parse_colours(entries: Sequence[str]) -> dict[Colour, str]:
    """``['road=128,64,128', ...]`` or ``[a file]`` as ``{(r, g, b): name}``.

    Raises:
        InputError: neither; a colour with two names.
    """
    if len(entries) == 1 and '=' not in entries[0]:
        return read_table(Path(entries[0]))
    table: dict[Colour, str] = {}
    for entry in entries:
        name, _, text = entry.rpartition('=')
        colour = _colour(re.split(r'[,\s]+', text.strip()))
        if not name or colour is None:
            raise InputError(f'--colours {entry}: write NAME=R,G,B with values of 0 to 255, or '
                             'give a file with such a table')
        _enter(table, colour, name, '--colours')
    return table


def read_table(path: Path) -> dict[Colour, str]:
    """A table of colours as a file: ``name,r,g,b``, ``r g b name`` or ``name:r,g,b:...`` a line.

    Raises:
        InputError: no file, or no line of it is a name with a colour.
    """
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'table of colours {path} cannot be read: {error}') from error
    table: dict[Colour, str] = {}
    for line in lines:
        match = _NAME_FIRST.match(line) or _COLOUR_FIRST.match(line) or \
            _WORDS_FIRST.fullmatch(line)
        colour = match and _colour(match.group('colour', 'green', 'blue'))
        if match and colour and not line.lstrip().startswith('#'):
            _enter(table, colour, match.group('name').strip(' \t"'), str(path))
    if not table:
        raise InputError(f'{path} has no line with a name and a colour; write name,r,g,b')
    return table


def _colour(words: Sequence[str]) -> Colour | None:
    if len(words) == 3 and all(word.isdigit() and int(word) < 256 for word in words):
        return int(words[0]), int(words[1]), int(words[2])
    return None


def _enter(table, colour, name, where):
    if not name:
        raise InputError(f'{where}: the colour {colour} has no name; write name,r,g,b')
    if table.setdefault(colour, name) != name:
        raise InputError(f'{where}: the colour {colour} is both {table[colour]!r} and {name!r}; '
                         'leave one of them')


def class_names(text: str) -> tuple[str, ...]:
    """``'cat,dog'`` or a file of one name a line as names.

    Raises:
        InputError: a name stands twice.
    """
    path = Path(text)
    words = path.read_text(encoding='utf-8-sig').splitlines() if path.is_file() \
        else text.split(',')
    names = tuple(word.strip() for word in words if word.strip())
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise InputError(f'--classes: the name {double!r} stands twice; rename one')
    return names
