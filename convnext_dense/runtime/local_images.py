"""Images that hooks draw during a run, as files in its log folder."""
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.visualization import LocalVisBackend as MMEngineLocalVisBackend

from convnext_dense.files import write_image
from convnext_dense.registry import VISBACKENDS
from convnext_dense.runtime.files import explain


@VISBACKENDS.register_module()
class LocalVisBackend(MMEngineLocalVisBackend):
    """mmengine's backend for local files; an image that cannot be written is an error.

    mmengine's own leaves a torn file on a full disk, or none, without a word, and makes the folder
    again where it was removed. The runner takes this one in its place.

    Args:
        save_dir (str): the folder; its images go to its sub-folder ``img_save_dir``.
        img_save_dir (str): name of the sub-folder.
        kwargs: of mmengine's backend.
    """

    def __init__(self, save_dir: str, img_save_dir: str = 'vis_image', **kwargs: Any) -> None:
        super().__init__(save_dir, img_save_dir, **kwargs)
        self._images = Path(save_dir or '', img_save_dir)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write an image as PNG.

        Args:
            name (str): its file is called ``<name>_<step>.png``.
            image (ndarray): uint8, (H, W, 3), RGB.
            step (int): of the run.

        Raises:
            WriteError: full disk, or a folder that is gone.
        """
        self.experiment  # noqa: B018 makes the folder at the first use
        path = self._images / f'{name}_{step}.png'
        try:
            if not self._images.is_dir():
                os.mkdir(self._images)  # not its parents: a folder that was removed stays so
            write_image(path, image[..., ::-1])
        except OSError as error:
            raise explain(path, error) from error


def with_own_backend(visualizer: dict) -> dict:
    """A visualizer's settings with this backend in the place of mmengine's of the same name."""
    backends = visualizer.get('vis_backends') or []
    backends = [backends] if isinstance(backends, dict) else backends
    if not isinstance(backends, (list, tuple)):
        return visualizer
    plain = ('LocalVisBackend', 'mmengine.LocalVisBackend', MMEngineLocalVisBackend)
    own = f'convnext_dense.{LocalVisBackend.__name__}'
    return type(visualizer)(visualizer, vis_backends=[
        dict(one, type=own) if isinstance(one, dict) and one.get('type') in plain else one
        for one in backends])
