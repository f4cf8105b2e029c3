"""Image sizes as users write them, and the figures that a config names. Light to import."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_size(text: str) -> tuple[int, int]:
    """``'1280x800'``, width first as the papers write it, as (height, width) in pixels."""
    parts = text.lower().split('x')
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f'--size {text}: write WIDTHxHEIGHT in pixels, e.g. 1280x800')
    return int(parts[1]), int(parts[0])


def published_figures(cfg: Config) -> dict[str, Any] | None:
    """The published row that a config names in ``published``, or None."""
    if not cfg.get('published'):
        return None
    from convnext_dense.published import published_row
    return published_row(cfg.published)
