"""Data workers read pictures with one thread of OpenCV and of torch each."""
import cv2
import pytest
import torch
from torch.utils.data import DataLoader

from convnext_dense.runtime.samples import SampleReader


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


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_a_worker_has_one_thread(start):
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        dataset = Threads()
        dataset.__getitems__ = SampleReader(dataset, Anything(), replace=False)
        loader = DataLoader(dataset, batch_size=1, num_workers=1, collate_fn=list,
                            multiprocessing_context=start)
        assert list(loader) == [[(1, 1)], [(1, 1)]]
        assert cv2.getNumThreads() == 4  # this process keeps its own
    finally:
        cv2.setNumThreads(threads)
