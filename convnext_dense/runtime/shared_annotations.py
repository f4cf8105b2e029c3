"""The samples of a data set, read by one process of each machine and mapped by the others.

mmengine keeps a data set's samples as one array of bytes and one of addresses. The first process
of a machine reads the annotations, and writes both arrays to files in the folder for temporary
files, which are removed as soon as every process has mapped them: their pages stay in memory once
for all processes and data workers, and nothing is left behind.
"""
from __future__ import annotations

import os
import pickle
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.logging import print_log

ARRAYS = ('data_bytes', 'data_address')
#: packages whose data sets set attributes while they read, and change none in place
KNOWN = ('convnext_dense', 'mmdet', 'mmseg', 'mmengine')


def read_once(dataset: BaseDataset, read: Callable[[], None]) -> None:
    """Read a data set's samples in one process of each machine; all processes must call it.

    Args:
        dataset: that has read nothing; afterwards it is fully initialised.
        read: reads its samples, in this process.

    Raises:
        Exception: what ``read`` raised in the process that called it, in all processes.
    """
    rank, processes = get_dist_info()
    if processes == 1 or not dataset.serialize_data or type(
            dataset).__module__.partition('.')[0] not in KNOWN:
        return read()
    hosts = all_gather_object(socket.gethostname())
    reader = hosts.index(hosts[rank])
    shared = _read_and_share(dataset, read) if reader == rank else (None, None)
    try:
        error, folder = all_gather_object(shared)[reader]
        taken = folder is not None and error is None and (
            reader == rank or _take(dataset, folder))
        all_gather_object(None)  # every process has mapped the files
    finally:
        if shared[1] is not None:
            shutil.rmtree(shared[1], ignore_errors=True)
    if error is not None:
        raise error
    if not taken and reader != rank:
        read()


def _read_and_share(dataset, read):
    """Read, and write what the other processes need; an error, and the folder or None."""
    before = dict(vars(dataset))
    try:
        read()
    except Exception as error:
        return _sendable(error), None
    state = {name: value for name, value in vars(dataset).items()
             if name not in ARRAYS and before.get(name, dataset) is not value}
    folder = None
    try:
        folder = tempfile.mkdtemp(prefix='convnext_dense_')
        for name in ARRAYS:
            np.save(Path(folder, f'{name}.npy'), getattr(dataset, name))
        with open(Path(folder, 'state.pickle'), 'wb') as file:
            pickle.dump(state, file)
        _map(dataset, folder)
    except (OSError, pickle.PicklingError, AttributeError, TypeError) as error:
        print_log(f'{dataset.ann_file}: its samples are read by each process, as they cannot be '
                  f'shared in {tempfile.gettempdir()}: {error}', 'current', 30)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return None, None
    return None, folder


def _sendable(error):
    """An error as other processes can have it: without its traceback, and whole or as text."""
    try:
        return pickle.loads(pickle.dumps(error.with_traceback(None)))
    except Exception:
        return RuntimeError(f'{type(error).__name__}: {error}')


def _take(dataset, folder):
    """Map the samples that another process has read; whether that could be done.

    It never raises: the other processes wait for this one.
    """
    if not os.path.exists(os.path.join(folder, 'state.pickle')):  # it has a file system of its own
        return False
    try:
        with open(Path(folder, 'state.pickle'), 'rb') as file:
            state = pickle.load(file)
        _map(dataset, folder)
    except Exception as error:
        print_log(f'{dataset.ann_file}: its samples are read once more, as those in {folder} '
                  f'cannot be mapped: {error}', 'current', 30)
        return False
    vars(dataset).update(state)
    return True


def _map(dataset: Any, folder: str) -> None:
    arrays = {name: np.load(Path(folder, f'{name}.npy'), mmap_mode='r') for name in ARRAYS}
    vars(dataset).update(arrays)
