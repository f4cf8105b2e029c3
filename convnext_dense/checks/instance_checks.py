"""Checks of one instance: its box, its area, its mask. Pure functions, pixels throughout."""
from collections.abc import Sequence
from typing import Any

from convnext_dense.checks.findings import Finding
from convnext_dense.datasets.coco_masks import check_mask, no_mask, outside

SAME = 0.5  # IoU of a box with the extent of its mask


def check_instance(annotation: dict[str, Any], width: int, height: int,
                   with_mask: bool) -> list[Finding]:
    """Everything that is wrong with a COCO annotation.

    Args:
        annotation (dict): the annotation, with four numbers as its box and one as its area.
        width, height (int): stated size of its image.
        with_mask (bool): whether the pipeline loads masks.

    Returns:
        list[Finding]
    """
    name = f'annotation {annotation.get("id")}'
    box = annotation['bbox']
    found = []
    x, y, w, h = box
    shown = '[' + ', '.join(f'{value:g}' for value in box) + ']'
    if w < 1 or h < 1:
        found.append(Finding('box-empty', f'{name}: bbox {shown}'))
    elif width and height and outside(x, y, x + w, y + h, width, height):
        found.append(Finding('box-outside', f'{name}: bbox {shown} in an image of '
                             f'{width} x {height}'))
    if annotation['area'] <= 0:
        found.append(Finding('area', f'{name}: area {annotation["area"]:g}'))
    mask = annotation.get('segmentation')
    if no_mask(mask):
        if with_mask:
            found.append(Finding('mask-missing', name))
        return found
    problems, extent = check_mask(mask, width, height)
    if with_mask and problems and {kind for kind, _ in problems} == {'polygon-invalid'} \
            and extent is None:
        found.append(Finding('mask-missing', f'{name}: no polygon of three points'))
    found += [Finding(kind, f'{name}: {text}') for kind, text in problems]
    if extent and w >= 1 and h >= 1 and iou(extent, (x, y, x + w, y + h)) < SAME:
        found.append(Finding('mask-off-box', f'{name}: bbox {shown}, its mask spans '
                             f'{", ".join(f"{value:g}" for value in extent)} (x1, y1, x2, y2)'))
    return found


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two extents (x1, y1, x2, y2)."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.
