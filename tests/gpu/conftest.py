"""Tests of this folder run on a GPU, or, where CONVNEXT_DENSE_GPU_TESTS=cpu asks for a rehearsal,
on a CPU; elsewhere they are passed over. ``tools/gpu/check.py training`` runs them."""
import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / 'runtime'))


@pytest.fixture(scope='session')
def device():
    wanted = os.environ.get('CONVNEXT_DENSE_GPU_TESTS')
    if wanted == 'cpu':
        return 'cpu'
    if not torch.cuda.is_available():
        if wanted:
            pytest.fail(f'torch {torch.__version__} finds no CUDA GPU')
        pytest.skip('there is no CUDA GPU')
    return 'cuda'
