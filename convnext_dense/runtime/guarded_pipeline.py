"""A data set's pipeline that looks at each image and label map as it is loaded."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.dataset import Compose

from convnext_dense.checks.image_checks import look_at_image, look_at_labels
from convnext_dense.checks.image_files import explain, look_at_file, oddities
from convnext_dense.datasets.labels import ONE_CHANNEL, LabelRules, label_rules
from convnext_dense.errors import InputError
from convnext_dense.runtime.annotations import leaves
from convnext_dense.runtime.bad_image_list import BadImageList
from convnext_dense.runtime.bad_images import BadSample


def guard_pipelines(dataset: Any, bad_images: BadImageList, training: bool) -> None:
    """Let the pipelines of a data set, and of those inside it, refuse bad images.

    Args:
        dataset (Dataset): mmengine's data sets and wrappers are known.
        bad_images (BadImageList): takes what is odd about images that are used.
        training (bool): samples without any target are of no use.
    """
    for leaf in leaves(dataset):
        if type(getattr(leaf, 'pipeline', None)) is Compose:
            looks = Looks(bad_images, label_rules(leaf), training)
            leaf.pipeline = GuardedPipeline(leaf.pipeline, looks)


class GuardedPipeline(Compose):
    """mmengine's Compose that judges what its own loading steps give.

    Args:
        pipeline (Compose): the steps.
        looks (Looks): judges.
    """

    def __init__(self, pipeline: Compose, looks: Looks) -> None:
        super().__init__(pipeline.transforms)
        self.looks = looks
        for step in self.transforms:  # of test-time augmentation, which loads annotations inside
            parts = getattr(step, 'subroutines', None)
            if isinstance(parts, list):
                step.subroutines = [GuardedPipeline(part, looks) if type(part) is Compose
                                    else part for part in parts]

    def __call__(self, data: dict[str, Any]) -> Any:
        """Apply the steps.

        Raises:
            BadSample: the image or its label map cannot be used.
        """
        self.looks.before(data)
        for step in self.transforms:
            had_image, had_labels = 'img' in data, 'gt_seg_map' in data
            try:
                data = step(data)
            except (InputError, MemoryError, BadSample):
                raise
            except Exception as error:
                self.looks.failed(step, data, error)
                raise
            if data is None:
                return None
            if not had_image and 'img' in data:
                self.looks.at_image(data)
            if not had_labels and 'gt_seg_map' in data:
                self.looks.at_labels(data)
        return data


class Looks:
    """What a guarded pipeline looks at, each file once a process.

    Args:
        bad_images (BadImageList): takes what is odd about images that are used.
        rules (LabelRules | None): which values label maps may hold.
        training (bool): samples without any target are of no use.
    """

    def __init__(self, bad_images: BadImageList, rules: LabelRules | None, training: bool) -> None:
        self.bad_images, self.rules, self.training = bad_images, rules, training
        self.whole: set[str] = set()  # files that may be decoded
        self.fine: set[str] = set()  # images and label maps that were looked at

    def before(self, data: dict[str, Any]) -> None:
        """Raise BadSample for files that must not be decoded."""
        for key in ('img_path', 'seg_map_path'):
            path = data.get(key)
            if isinstance(path, str) and path not in self.whole:
                problem = look_at_file(path, self.bad_images.max_pixels)
                if problem:
                    raise BadSample(path, problem.text)
                self.whole.add(path)

    def failed(self, step: Callable, data: dict[str, Any], error: Exception) -> None:
        """Raise BadSample where a loading step failed."""
        if not isinstance(data, dict):
            return
        key = 'img_path' if 'img' not in data else 'seg_map_path'
        path = data.get(key)
        loads = 'Load' in type(step).__name__ and 'gt_seg_map' not in data
        if isinstance(path, str) and (key == 'img_path' or loads):
            raise BadSample(path, explain(path, error).text) from error

    def at_image(self, data: dict[str, Any]) -> None:
        """Raise BadSample for an image that does not fit its annotation."""
        path, image = data.get('img_path'), data['img']
        if not isinstance(path, str) or path in self.fine or not hasattr(image, 'shape') or \
                len(image.shape) < 2:
            return
        problem = look_at_image(image, (data.get('width'), data.get('height')))
        if problem:
            raise BadSample(path, problem.text)
        if self.training and data.get('without_target'):
            raise BadSample(path, 'has no annotation that can be used')
        for oddity in oddities(path):
            self.bad_images.add(path, oddity, used=True)
        self.fine.add(path)

    def at_labels(self, data: dict[str, Any]) -> None:
        """Raise BadSample for a label map that fits neither its image nor the classes."""
        path, labels = data.get('seg_map_path'), data['gt_seg_map']
        if not isinstance(path, str) or path in self.fine or not hasattr(labels, 'shape'):
            return
        if len(labels.shape) != 2:
            raise BadSample(path, f'is a colour image of shape {labels.shape}; {ONE_CHANNEL}')
        height, width = data.get('ori_shape', labels.shape)[:2]
        for problem in look_at_labels(labels, (width, height), self.rules)[0]:
            if problem.kind != 'map-ignored' or self.training:
                raise BadSample(path, problem.text)
        self.fine.add(path)
