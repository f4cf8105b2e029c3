"""Images and label maps as the pipeline of a data set loads them: what every check judges."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from convnext_dense.checks.findings import Finding
from convnext_dense.checks.image_files import MAX_PIXELS, explain, look_at_file
from convnext_dense.config_nodes import nested, type_name
from convnext_dense.datasets.label_maps import read_labels
from convnext_dense.datasets.labels import ONE_CHANNEL
from convnext_dense.datasets.splits import Split
from convnext_dense.errors import convert_errors


class Loaded(NamedTuple):
    """What came out of loading a sample.

    Attributes:
        image (ndarray | None): shape (height, width) or (height, width, channels).
        problem (Finding | None): why there is no image.
    """
    image: Any
    problem: Finding | None


class LoadedLabels(NamedTuple):
    """What came out of loading a label map.

    Attributes:
        labels (ndarray | None): as training sees them, shape (height, width).
        stored (ndarray | None): as the file holds them; None where only the loader knows.
        problem (Finding | None): why there are no labels.
    """
    labels: Any
    stored: Any
    problem: Finding | None


def loader_of(split: Split) -> Loader:
    """The :class:`Loader` of a data set.

    Args:
        split (Split): the data set.

    Raises:
        InputError: a loading step that cannot be built.
    """
    with convert_errors(f'{split.where}.dataset.pipeline', 'look at its loading steps'):
        return Loader(split.cfg.get('pipeline'), split.scope, split.max_pixels or MAX_PIXELS)


class Loader:
    """The loading steps of a pipeline; it can be sent to another process.

    Args:
        pipeline (Sequence[dict]): of the data set; an empty one stands for mmcv's
            ``LoadImageFromFile``.
        scope (str, optional): where types without a scope are looked up.
        max_pixels (int): the most pixels that an image may have.
    """

    def __init__(self, pipeline: Sequence[dict] | None, scope: str = 'mmengine',
                 max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels
        steps = list(pipeline or ()) or [dict(type='LoadImageFromFile')]
        annotations = [step for step in nested(steps)
                       if 'LoadAnnotations' in (type_name(step) or '')]
        self.steps = [_build(step, scope) for step in steps[:_image_steps(steps)]]
        self.annotations = _build(annotations[0], scope) if annotations else None

    def image(self, info: dict[str, Any]) -> Loaded:
        """Load the image of a sample.

        Args:
            info (dict): of the sample, with ``img_path``; it stays as it is.

        Returns:
            Loaded
        """
        results, path = dict(info), info['img_path']
        problem = look_at_file(path, self.max_pixels)
        if problem:
            return Loaded(None, problem)
        try:
            for step in self.steps:
                results = step(results)
        except Exception as error:  # a loader may be anybody's
            return Loaded(None, explain(path, error))
        image = (results or {}).get('img')
        if not isinstance(image, np.ndarray) or image.ndim < 2:
            return Loaded(None, Finding('image-unreadable', 'is no image: the loader gives '
                                        f'{type(image).__name__}'))
        return Loaded(image, None)

    def labels(self, info: dict[str, Any]) -> LoadedLabels:
        """Load the label map of a sample.

        Args:
            info (dict): as mmseg's data sets give it, with ``seg_map_path``; it stays as it is.

        Returns:
            LoadedLabels
        """
        path = info['seg_map_path']
        problem = look_at_file(path, self.max_pixels)
        if problem:
            return LoadedLabels(None, None, problem)
        try:
            stored = self._stored(path)
            results = self.annotations(dict(info, seg_fields=[])) if self.annotations else {}
        except Exception as error:
            return LoadedLabels(None, None, explain(path, error))
        labels = results.get('gt_seg_map', stored)
        if labels is None or np.ndim(labels) != 2:
            return LoadedLabels(None, None, Finding(
                'map-unreadable', f'is a colour image of shape {np.shape(labels)}; {ONE_CHANNEL}'))
        if self._cuts() and not np.array_equal(stored, stored.astype(np.uint8)):
            return LoadedLabels(None, None, Finding(
                'label-values', f'has the value {stored.max()}, which the pipeline\'s '
                "LoadAnnotations cuts to 8 bits; write type='convnext_dense.LoadAnnotations' "
                'there'))
        return LoadedLabels(labels, stored, None)

    def _cuts(self):
        """Whether labels are loaded by mmseg's method, which takes their last 8 bits."""
        load = getattr(type(self.annotations), '_load_seg_map', None)
        return getattr(load, '__module__', None) == 'mmseg.datasets.transforms.loading'

    def _stored(self, path):
        """The values of the file, decoded as mmseg's loader does it but not cut to 8 bits."""
        from mmcv.transforms import LoadAnnotations
        if self.annotations is None:
            return read_labels(path)
        if not isinstance(self.annotations, LoadAnnotations):
            return None
        return read_labels(path, self.annotations.imdecode_backend, self.annotations.backend_args)


def _image_steps(steps):
    """How many steps it takes to have an image: up to the first one that loads images."""
    for number, step in enumerate(steps, 1):
        name = type_name(step) or ''
        if 'Load' in name and 'Annotations' not in name:
            return number
    return 1


def _build(step, scope):
    from mmengine.registry import TRANSFORMS, DefaultScope
    if not isinstance(step, dict):
        return step
    with DefaultScope.overwrite_default_scope(scope):
        return TRANSFORMS.build(dict(step))
