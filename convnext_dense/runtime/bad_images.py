"""What makes an image or its annotations unusable, judged from the files."""
import traceback
from collections.abc import Iterator
from typing import Any

from convnext_dense.datasets.coco_masks import outside, undrawable_mask
from convnext_dense.runtime.bad_image_list import BadImageList


class BadSample(Exception):
    """A sample that cannot be used.

    Args:
        path (str): its image or label map.
        problem (str): what is wrong, without the path.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem


def write_down(bad_images: BadImageList, dataset: Any, index: int, error: Exception) -> str:
    """Write down why a sample could not be read.

    Args:
        bad_images (BadImageList): where.
        dataset (Dataset): its data set.
        index (int): in the data set.
        error (Exception): what reading it raised.

    Returns:
        str: file and problem.
    """
    detail = None
    if isinstance(error, BadSample):
        path, problem = error.path, error.problem
    else:
        path = _path_in_frames(error) or _path_of(dataset, index)
        text = (str(error).strip().splitlines() or [''])[0]
        problem = f'{type(error).__name__}: {text}'
        detail = ''.join(traceback.format_exception(error))
    bad_images.add(path, problem, used=False, size=len(dataset), detail=detail)
    return f'{path}: {problem}'


def _path_in_frames(error):
    """The image that was being worked on: mixed samples (mosaic) hold several."""
    path, frame = None, error.__traceback__
    while frame is not None:
        for name in ('results', 'data_info', 'data'):
            value = frame.tb_frame.f_locals.get(name)
            if isinstance(value, dict) and isinstance(value.get('img_path'), str):
                path = value['img_path']
        frame = frame.tb_next
    return path


def _path_of(dataset, index):
    try:
        return dataset.get_data_info(index)['img_path']
    except Exception:  # whatever the data set is
        return f'sample {index} of {type(dataset).__name__}'


def look_at_boxes(raw: dict[str, Any]) -> Iterator[str]:
    """Problems of an image's COCO annotations, as text without the image's name.

    Args:
        raw (dict): ``raw_img_info`` and ``raw_ann_info`` of mmdet's CocoDataset.
    """
    width, height = raw['raw_img_info']['width'], raw['raw_img_info']['height']
    for annotation in raw['raw_ann_info']:
        if annotation.get('ignore'):
            continue
        x, y, w, h = annotation['bbox']
        name = f'annotation {annotation.get("id")}'
        shown = f'[{x:g}, {y:g}, {w:g}, {h:g}]'
        if w <= 0 or h <= 0 or annotation.get('area', 1) <= 0:
            yield f'{name} has a box of no area: {shown}'
        elif outside(x, y, x + w, y + h, width, height):
            yield f'{name} leaves the {width}x{height} image: {shown}'


def drop_undrawable_masks(raw: dict[str, Any]) -> list[str]:
    """Take annotations whose mask would exhaust the memory out of ``raw``.

    Args:
        raw (dict): as in :func:`look_at_boxes`.

    Returns:
        list[str]: what is wrong with each.
    """
    width, height = raw['raw_img_info']['width'], raw['raw_img_info']['height']
    problems, kept = [], []
    for annotation in raw['raw_ann_info']:
        problem = undrawable_mask(annotation.get('segmentation'), width, height)
        if problem:
            problems.append(f'annotation {annotation.get("id")} has {problem}')
        else:
            kept.append(annotation)
    raw['raw_ann_info'] = kept
    return problems
