"""A file that is not as it was written: found wherever it is read, before anything is used."""
import re

import pytest
import torch
from safetensors.torch import save_file
from tiny_weights import convnext, official_state

from convnext_dense.checkpoints import archive, load_weights, read_checkpoint
from convnext_dense.checkpoints.export import convert_checkpoint
from convnext_dense.checkpoints.reading import is_whole
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


@pytest.mark.parametrize('value, told', [(float('nan'), 'nan'), (float('inf'), 'inf'),
                                         (-2.75e36, '-2.75e+36')])
@pytest.mark.parametrize('suffix', ['pth', 'legacy.pth', 'safetensors'])
def test_values_that_no_training_gives_are_named(value, told, suffix, tmp_path):
    """Files without checksums, and files that were written so."""
    state = official_state()
    state['stages.2.1.pwconv1.weight'][0, 0] = value
    path = tmp_path / f'a.{suffix}'
    if suffix == 'safetensors':
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization='legacy' not in suffix)
    model = convnext()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match=rf'{path}: stages.2.1.pwconv1.weight holds the value '
                                         rf'{re.escape(told)}, which no training gives'):
        load_weights(model, path)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    with pytest.raises(InputError, match='which no training gives'):
        convert_checkpoint(path, tmp_path / 'out.safetensors')
    assert not (tmp_path / 'out.safetensors').exists()


def test_a_whole_file_of_each_kind_is_whole_and_a_torn_one_is_not(tmp_path, flipped):
    """A checkpoint in torch's old format has no checksums, but is not torn for that."""
    paths = [tmp_path / name for name in ('new.pth', 'old.pth', 'a.safetensors')]
    torch.save(official_state(), paths[0])
    torch.save(official_state(), paths[1], _use_new_zipfile_serialization=False)
    save_file(official_state(), paths[2])
    for path in paths:
        assert is_whole(path)
        path.write_bytes(path.read_bytes()[:-8])
        assert not is_whole(path)
    assert not is_whole(flipped) and not is_whole(tmp_path / 'nothing.pth')
