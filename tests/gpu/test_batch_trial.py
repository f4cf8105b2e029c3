"""`train --batch auto` on a GPU whose memory is made small."""
import pytest
import torch
from test_whole_models import config, shapes  # noqa: F401

MEMORY = 400 * 2**20  # bytes


def test_the_largest_batch_that_fits_is_found(shapes, tmp_path, device):  # noqa: F811
    from convnext_dense.analysis.batch_trial import BatchTrial
    from convnext_dense.planning.batch_size import largest_batch
    if device != 'cuda':
        pytest.skip('the memory of a CPU is not tried but measured')
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + MEMORY) / total)
    try:
        trial = BatchTrial(config('segmenter', shapes, tmp_path, device), device)
        batch = largest_batch(trial.fits, 2, 1 << 14)
        assert 2 < batch < 1 << 14
        assert trial.fits(batch) and not trial.fits(batch * 2)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.)
