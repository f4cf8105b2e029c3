"""What the fuzzed tests share."""
import gc

import pytest
import torch

from convnext_dense.datasets.shapes import write_shapes


@pytest.fixture(scope='session')
def tiny_shapes(tmp_path_factory):
    """Six images of 64 pixels, with boxes, masks and label maps."""
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=2, size=64)
    return root


@pytest.fixture
def many_runs():
    """What hundreds of tiny runs in one process need: one thread, and a garbage collector, which
    each data set calls, that does not look through all libraries."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)
