"""An export beside the model that it was made from: the same results, and how fast."""
import copy
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import cv2
import numpy as np

from convnext_dense.config_nodes import nested
from convnext_dense.errors import InputError
from convnext_dense.prediction import Predictor
from convnext_dense.prediction.results import Instances, LabelMap

#: sizes of the images, relative to their own, and batches that are compared
SCALES, BATCHES = (1., .75, .5), (1, 2)
#: settings of metrics that write files
WRITING = ('outfile_prefix', 'output_dir', 'format_only', 'report', 'report_dir', 'keep_results')
#: what counts as equal in float32
EQUAL_PIXELS, BOX_PIXELS, SCORE = .9999, .01, 1e-4


def compare(reference: Predictor, exported: Predictor, images: Sequence[np.ndarray],
            least: int = 1) -> dict:
    """Predict the same images with both, in three sizes and two batch sizes.

    A batch of two is an image and its mirror image.

    Args:
        reference (Predictor): of the model in torch.
        exported (Predictor): of the export.
        images (Sequence[ndarray]): (H, W, 3), BGR.
        least (int): images are not made smaller than sides of so many pixels.

    Returns:
        dict: ``equal`` (bool), ``cases`` (what was compared), and the worst of them: for label
        maps ``equal_pixels`` (share); for objects ``objects``, ``unmatched`` (of both sides),
        ``box_difference`` (pixels) and ``score_difference``.
    """
    found, sizes = [], set()
    for wanted in SCALES:
        for image in images:
            scale = min(max(wanted, least / min(image.shape[:2])), 1.)
            scaled = image if scale == 1 else cv2.resize(
                image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            sizes.add(scaled.shape[:2])
            for batch in BATCHES:
                batch_of = [scaled, np.ascontiguousarray(scaled[:, ::-1])][:batch]
                reference.batch_size = exported.batch_size = batch
                found += [differences(*pair)
                          for pair in zip(reference(batch_of), exported(batch_of))]
    return dict(cases=dict(images=len(images), sizes=sorted(map(list, sizes)),
                           batches=list(BATCHES)), **_worst(found))


def differences(reference: Any, exported: Any) -> dict:
    """How two results of one image differ, see :func:`compare`."""
    if isinstance(reference, LabelMap):
        return dict(equal_pixels=float((reference.labels == exported.labels).mean()))
    return _of_instances(reference, exported)


def _of_instances(reference: Instances, exported: Instances) -> dict:
    left, pairs = list(range(len(exported))), []
    for index in range(len(reference)):
        rivals = [other for other in left if exported.labels[other] == reference.labels[index]]
        if not rivals:
            continue
        distances = [np.abs(reference.boxes[index] - exported.boxes[other]).max() +
                     abs(reference.scores[index] - exported.scores[other]) for other in rivals]
        nearest = rivals[int(np.argmin(distances))]
        if np.abs(reference.boxes[index] - exported.boxes[nearest]).max() < 1:
            pairs.append((index, nearest))
            left.remove(nearest)
    boxes = [np.abs(reference.boxes[a] - exported.boxes[b]).max() for a, b in pairs]
    scores = [abs(reference.scores[a] - exported.scores[b]) for a, b in pairs]
    result = dict(objects=len(reference), unmatched=len(reference) + len(exported) - 2 * len(pairs),
                  box_difference=float(max(boxes, default=0)),
                  score_difference=float(max(scores, default=0)))
    if reference.mask_crops is not None and exported.mask_crops is not None and pairs:
        result['equal_mask_pixels'] = min(
            _equal_mask(reference.mask_crops[a], exported.mask_crops[b], reference.size)
            for a, b in pairs)
    return result


def _equal_mask(first, second, size):
    """Intersection over union of two masks."""
    first, second = first.full(*size), second.full(*size)
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.


def _worst(found):
    keys = dict.fromkeys(key for one in found for key in one)
    pick: dict[str, Callable] = dict(
        equal_pixels=min, equal_mask_pixels=min, objects=sum, unmatched=sum)
    worst = {key: pick.get(key, max)([one[key] for one in found if key in one]) for key in keys}
    equal = worst.get('equal_pixels', 1) >= EQUAL_PIXELS and not worst.get('unmatched') and \
        worst.get('box_difference', 0) <= BOX_PIXELS and \
        worst.get('score_difference', 0) <= SCORE
    return dict(equal=bool(equal), **worst)


def in_words(found: dict) -> str:
    """One line of what :func:`compare` gave."""
    if 'equal_pixels' in found:
        text = f'{found["equal_pixels"]:.4%} of the pixels have the same label at the least'
    elif not found['objects'] and not found['unmatched']:
        text = 'no object could be compared, since the model finds none'
    else:
        text = (f'{found["objects"]} objects, {found["unmatched"]} without a partner, boxes within '
                f'{found["box_difference"]:.2g} pixels, scores within '
                f'{found["score_difference"]:.2g}')
        if 'equal_mask_pixels' in found:
            text += f', IoU of masks from {found["equal_mask_pixels"]:.4f} on'
    cases = found['cases']
    sizes = ', '.join(f'{width}x{height}' for height, width in cases['sizes'])
    return f'{text} ({cases["images"]} images of {sizes}, batches of {cases["batches"]})'


def time_in_turns(sides: dict[str, Predictor], image: np.ndarray, rounds: int = 5) -> dict:
    """Seconds that each takes for the network and what follows it, for one image.

    Args:
        sides (dict[str, Predictor]): by name; they run in turns.
        image (ndarray): (H, W, 3), BGR.
        rounds (int): timed, after one that is not.

    Returns:
        dict: median seconds by name.
    """
    import torch
    from mmengine.dataset import pseudo_collate
    data = {name: pseudo_collate([side.input.pack(image)]) for name, side in sides.items()}
    seconds: dict[str, list] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            inputs = copy.deepcopy(data[name])
            begin = time.perf_counter()
            with torch.no_grad():
                side.model.test_step(inputs)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: median(times) for name, times in seconds.items()}


def evaluate(model: Any, cfg: Any, limit: int | None = None) -> dict[str, float]:
    """The metrics of the config's test, of its own test data.

    Args:
        model: with ``test_step``.
        cfg (Config): with ``test_dataloader`` and ``test_evaluator`` (or those of ``val``).
        limit (int, optional): images that are used; by default all.

    Returns:
        dict[str, float]: figures by name.

    Raises:
        InputError: the config has no test, or its data are not there.
    """
    import torch
    from mmengine.config import ConfigDict
    from mmengine.evaluator import Evaluator
    from mmengine.runner import Runner

    from convnext_dense.errors import convert_errors
    loader_cfg = copy.deepcopy(cfg.get('test_dataloader') or cfg.get('val_dataloader'))
    metrics = copy.deepcopy(cfg.get('test_evaluator') or cfg.get('val_evaluator'))
    if not loader_cfg or not metrics:
        raise InputError('the config has no test_dataloader and test_evaluator to evaluate with')
    # neither collating nor workers of the config's are needed for one image at a time
    loader_cfg = ConfigDict(dataset=loader_cfg['dataset'], batch_size=1, num_workers=0,
                            sampler=dict(type='DefaultSampler', shuffle=False))
    for part in nested(metrics):
        for key in WRITING:
            part.pop(key, None)
    if limit:
        loader_cfg.dataset.indices = limit
    from mmengine.registry import DefaultScope
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')), \
            convert_errors('the test data of the config', 'give --data-root'):
        loader = Runner.build_dataloader(loader_cfg, seed=0)
        evaluator = Evaluator(metrics)
        evaluator.dataset_meta = loader.dataset.metainfo
        with torch.no_grad():
            for data in loader:
                samples = model.test_step(data)
                evaluator.process(data_samples=samples, data_batch=data)
        figures = evaluator.evaluate(len(loader.dataset))
        return {name: float(value) for name, value in figures.items()
                if isinstance(value, (int, float, np.number))}
