"""A file that is not as it was written: found wherever it is read, before anything is used."""
import pytest
import torch
from tiny_weights import convnext, official_state

from convnext_dense.checkpoints import archive, load_weights, read_checkpoint
from convnext_dense.errors import InputError


def flip_a_bit(path, value):
    """Flip the highest bit of the exponent of one float32 in a file."""
    content = bytearray(path.read_bytes())
    place = content.index(torch.tensor(value).numpy().tobytes()) + 3
    content[place] ^= 0x40
    path.write_bytes(bytes(content))


@pytest.fixture
def flipped(tmp_path):
    state = official_state()
    state['stages.0.0.dwconv.weight'][0, 0, 0, 0] = -.008
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=state), path)
    flip_a_bit(path, -.008)
    return path


def test_a_flipped_bit_is_refused_wherever_the_file_is_read(flipped, monkeypatch):
    assert torch.load(flipped)['state_dict']['stages.0.0.dwconv.weight'][0, 0, 0, 0] < -1e36
    with pytest.raises(InputError, match=r"epoch_1.pth .*CRC-32 of its record 'epoch_1/data/\d+'"):
        read_checkpoint(flipped)
    model = convnext()
    with pytest.raises(InputError, match='CRC-32'):
        load_weights(model, flipped)
    from mmengine.runner import CheckpointLoader, load_checkpoint

    from convnext_dense.checkpoints import read_safely_in_mmengine
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    read_safely_in_mmengine()
    with pytest.raises(InputError, match='CRC-32'):
        load_checkpoint(model, str(flipped))


def test_an_outline_of_a_file_is_read_without_its_tensors(flipped):
    assert read_checkpoint(flipped, checksums=False)['state_dict']


def test_files_without_checksums_are_read(tmp_path):
    """torch.serialization.set_crc32_options(False) writes zeros."""
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(a=torch.ones(3)), tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert not any(record.crc for record in archive.records(tmp_path / 'a.pth').values())
    assert read_checkpoint(tmp_path / 'a.pth')['a'].sum() == 3
