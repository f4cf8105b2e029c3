"""Data workers read images with one thread of OpenCV and of torch each."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from convnext_dense.runtime.samples import SeededDataset


class Threads:
    """Its samples are the numbers of threads of the process that reads them."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return cv2.getNumThreads(), torch.get_num_threads()


class Anything:
    """An inspector that finds nothing wrong."""

    def look(self, dataset, index):
        return None


def numbers_of_threads(start):
    dataset = SeededDataset(Threads(), Anything(), replace=False)
    return list(DataLoader(dataset, batch_size=1, num_workers=1, collate_fn=list, timeout=60,
                           multiprocessing_context=start))


@pytest.fixture
def four_threads():
    """A process that uses four threads of OpenCV."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (9, 9), 0)
    yield
    cv2.setNumThreads(threads)


def test_a_spawned_worker_has_one_thread(four_threads):
    assert numbers_of_threads('spawn') == [[(1, 1)], [(1, 1)]]
    assert cv2.getNumThreads() == 4  # this process keeps its own


def test_a_forked_worker_has_what_mmengine_set(four_threads):
    set_multi_processing(mp_start_method='fork', opencv_num_threads=0)
    assert numbers_of_threads('fork') == [[(1, 1)], [(1, 1)]]


def test_what_hooks_set_on_the_data_set_reaches_it():
    """mmdet's PipelineSwitchHook gives the training set another pipeline in mid-run."""
    class Data:
        pipeline = 'first'

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return self.pipeline, int(index)

    inner = Data()
    dataset = SeededDataset(inner, Anything(), replace=False)
    dataset.pipeline = 'second'
    assert inner.pipeline == dataset.pipeline == 'second' and len(dataset) == 3
    assert dataset.__getitems__([2, 0]) == [('second', 2), ('second', 0)]
    with pytest.raises(AttributeError, match='metainfo'):
        dataset.metainfo  # noqa: B018
