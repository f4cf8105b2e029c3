"""The published figures and recipes of ``published.yaml``, a row at a time.

A row's key is ``<table>/<name>_<pretrain>``, such as ``coco/cascade_convnext-b_in22k``: a name
stands twice in a table where two pre-trainings were published. A config names its row in
``published``; it is None where nothing was published.
"""
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError

FILE = Path(__file__).with_name('published.yaml')
TABLES = ('coco', 'ade20k', 'ade20k_linear', 'v2_dense', 'dino', 'rtmdet', 'mask2former_ade20k',
          'mask2former_coco', 'mask2former_panoptic')


def row_key(table: str, row: dict[str, Any]) -> str:
    """Key of a row (dict with ``name`` and ``pretrain``) of ``table``."""
    return f'{table}/{row["name"]}_{row["pretrain"]}'


@lru_cache(maxsize=1)
def _document():
    import yaml
    return yaml.safe_load(FILE.read_text(encoding='utf-8'))


def load_published() -> dict[str, Any]:
    """The whole file as plain dicts and lists."""
    return deepcopy(_document())


def published_rows(table: str | None = None) -> dict[str, dict[str, Any]]:
    """Rows by key, in the file's order.

    Args:
        table (str | None): ``coco``, ``ade20k`` or ``v2_dense``; None is all three.

    Returns:
        dict[str, dict]: the row's own fields: AP and mIoU in percent, ``params_M`` in millions,
        ``flops_G`` in 10^9 multiply-adds, ``a100_fps`` in images a second; and ``source``, where
        they were published.
    """
    document = load_published()
    return {row_key(name, row): dict(row, source=_source(document, name, row))
            for name in ([table] if table else TABLES) for row in document[name]}


def imagenet_rows() -> list[dict[str, Any]]:
    """The published classifiers: ``name``, ``pretrain``, ``top1`` in percent, ``params_M``,
    ``flops_G`` and ``source``."""
    document = load_published()
    return [dict(row, source=_source(document, 'imagenet', row)) for row in document['imagenet']]


def _source(document, table, row):
    return next(source for word, source in document['sources'][table].items()
                if word in row['name'])


def published_row(key: str) -> dict[str, Any]:
    """One row.

    Raises:
        InputError: no row has this key.
    """
    rows = published_rows()
    if key not in rows:
        close = get_close_matches(str(key), rows, n=3) or list(rows)[:3]
        raise InputError(f'{FILE.name} has no row {key!r}; write <table>/<name>_<pretrain>, such '
                         f'as {", ".join(close)}')
    return rows[key]
