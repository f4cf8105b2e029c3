"""A tiny detector and a tiny segmenter, each trained a few steps on the shapes."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / 'runtime'))


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    from convnext_dense.datasets.shapes import write_shapes
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(folder, train=4, val=4, size=64)
    return folder


@pytest.fixture(scope='session')
def detector(shapes, tmp_path_factory):
    """Work directory of a detector that was trained for 2 steps."""
    import tiny

    from convnext_dense.runtime import Runner
    folder = tmp_path_factory.mktemp('detector')
    config = tiny.detector_config(shapes, folder, workers=0, epochs=1)
    config.custom_hooks = []
    Runner.from_cfg(config).train()
    return folder


@pytest.fixture(scope='session')
def segmenter(shapes, tmp_path_factory):
    """Work directory of a segmenter that was trained for 2 steps."""
    import tiny

    from convnext_dense.runtime import Runner
    folder = tmp_path_factory.mktemp('segmenter')
    config = tiny.segmenter_config(shapes, folder, workers=0, iters=2)
    config.custom_hooks = []
    Runner.from_cfg(config).train()
    return folder


@pytest.fixture
def images(shapes):
    """The validation images of the shapes, sorted."""
    return sorted((shapes / 'images' / 'validation').iterdir())
