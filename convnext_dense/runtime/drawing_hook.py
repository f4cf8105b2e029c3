"""Predictions of a test, drawn into one folder: ``test --show-dir``."""
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner

from convnext_dense.errors import InputError
from convnext_dense.registry import HOOKS

DRAWN_AS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')  # others become PNG files


@HOOKS.register_module()
class DrawingHook(Hook):
    """Draws each tested image with its predictions, by the config's visualizer.

    The sub-folders of the images are kept, so that images of one name stay apart.

    Args:
        folder (str): where the drawings go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                        outputs: Sequence | None = None) -> None:
        """Draw the images of a batch."""
        prefix = getattr(runner.test_dataloader.dataset, 'data_prefix', None) or {}
        root = prefix.get('img') or prefix.get('img_path') or os.curdir
        for sample in outputs or ():
            image = mmcv.imfrombytes(get(sample.img_path), channel_order='rgb')
            file = self.folder / below(sample.img_path, root)
            try:
                runner.visualizer.add_datasample(
                    'test', image, data_sample=sample, show=False, out_file=str(file))
            except OSError as error:
                raise InputError(f'{file} cannot be written: {error.strerror}; free some space '
                                 'there, or choose another --show-dir') from error


def below(path: str, root: str) -> Path:
    """The path of a drawing: that of its image below a folder, in a format for drawings."""
    relative = Path(*(part for part in Path(os.path.relpath(path, root)).parts
                      if part != os.pardir))
    return relative if relative.suffix.lower() in DRAWN_AS else relative.with_suffix('.png')
