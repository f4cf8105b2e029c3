"""A segmenter's evaluation as files: figures, counts of every image, confusions, the worst.

The layout is described in docs/evaluation.md.
"""
from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from convnext_dense.analysis.evaluation_report import plots
from convnext_dense.analysis.evaluation_report.detection import WORST
from convnext_dense.analysis.evaluation_report.json_files import dump_json
from convnext_dense.registry import FUNCTIONS

FORMAT = 'convnext_dense.segmentation/1'
# confusions named an image
SHOWN = 10


@FUNCTIONS.register_module()
def write_segmentation_report(folder: Path, classes: Sequence[str], results: list[dict],
                              confusion: np.ndarray, summary: dict[str, float],
                              by_class: dict[str, np.ndarray]) -> None:
    """Write the report of one evaluation into ``folder``.

    Args:
        folder (Path): exists.
        classes (Sequence[str]): names by label.
        results (list[dict]): each image's ``name`` and filled cells ``label``, ``prediction``,
            ``pixels``, perhaps ``boundary`` (3, classes).
        confusion (numpy.ndarray): (classes, classes) pixels of all images.
        summary (dict): overall figures in [0, 1].
        by_class (dict): name of a figure to (classes,) values in [0, 1].
    """
    names = _short_names([result['name'] for result in results])
    images = [dict(name=name, **image_counts(result, len(classes)))
                for name, result in zip(names, results, strict=True)]
    rows = [{'name': name, **{key: values[row] for key, values in by_class.items()},
             'intersection': confusion[row, row], 'prediction': confusion[:, row].sum(),
             'label': confusion[row].sum()} for row, name in enumerate(classes)]
    dump_json(folder / 'segmentation.json', {
        'format': FORMAT, 'classes': list(classes), 'figures': summary, 'per_class': rows,
        'confusion': confusion, 'images': images,
        'worst': worst_images(images, results, classes)})
    plots.confusion(confusion, list(classes), list(classes),
                    folder / 'confusion_matrix.png')
    print_log(f'report: {folder / "segmentation.json"}', 'current')


def image_counts(result: dict, classes: int) -> dict[str, list]:
    """Pixels of the classes in one image: dict of lists, classes without pixels left out."""
    label, prediction, pixels = result['label'], result['prediction'], result['pixels']
    same = label == prediction
    counts = {name: np.bincount(values, pixels[chosen], classes).astype(np.int64)
              for name, values, chosen in (('intersection', label[same], same),
                                           ('prediction', prediction, slice(None)),
                                           ('label', label, slice(None)))}
    if 'boundary' in result:
        for name, values in zip(('intersection', 'prediction', 'label'), result['boundary'],
                                strict=True):
            counts[f'boundary_{name}'] = values
    present = np.flatnonzero(counts['prediction'] + counts['label'])
    return {'classes': present.tolist(),
            **{name: values[present].tolist() for name, values in counts.items()}}


def worst_images(images: list[dict], results: list[dict], classes: Sequence[str]) -> list[dict]:
    """The images with the lowest mean IoU of their classes, their largest confusions named.

    Returns:
        list[dict]: ``name``, ``accuracy``, ``IoU``, ``errors``; the worst first.
    """
    scored = []
    for image, result in zip(images, results, strict=True):
        right, found, true = (np.array(image[name], float)
                              for name in ('intersection', 'prediction', 'label'))
        if not true.sum():
            continue
        wrong = np.flatnonzero(result['label'] != result['prediction'])
        wrong = wrong[np.argsort(-result['pixels'][wrong], kind='stable')][:SHOWN]
        scored.append({
            'name': image['name'], 'accuracy': right.sum() / true.sum(),
            'IoU': (right / (found + true - right)).mean(),
            'errors': [{'error': 'class', 'label': classes[result['label'][cell]],
                        'prediction': classes[result['prediction'][cell]],
                        'pixels': result['pixels'][cell]} for cell in wrong]})
    scored.sort(key=lambda entry: (entry['IoU'], entry['name']))
    return [entry for entry in scored[:WORST] if entry['errors']]


def _short_names(names):
    """Paths below the images' common folder."""
    try:
        common = commonpath([str(Path(name).parent) for name in names])
    except ValueError:  # absolute and relative paths, or several drives
        return names
    return [str(Path(name).relative_to(common)) for name in names]
