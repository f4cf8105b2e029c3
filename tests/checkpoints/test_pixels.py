"""Pixel statistics follow the weights, by their published names or the names of their tensors."""
import json

import pytest
import torch
from safetensors.torch import save_file
from test_damaged_files import openclip
from tiny_weights import convnext_file

from convnext_dense.checkpoints import archive, reading, zoo
from convnext_dense.checkpoints.export import convert_checkpoint
from convnext_dense.checkpoints.pixels import pixel_warning, pixels_of

CLIP = (zoo.CLIP_MEAN, zoo.CLIP_STD)


@pytest.mark.parametrize('source', ['convnext-base_clip-laion2b', 'x/convnext-base_clip-laion2b.'
                                    'safetensors'])
def test_pixels_that_are_not_the_weights_are_named(source):
    line = pixel_warning(source, zoo.IMAGENET_MEAN, zoo.IMAGENET_STD)
    assert '[122.771, 116.746, 104.094]' in line and 'mean=[123.675, 116.28, 103.53]' in line
    assert pixel_warning(source, zoo.CLIP_MEAN, zoo.CLIP_STD) is None
    assert pixel_warning('mine.pth', zoo.CLIP_MEAN, zoo.CLIP_STD) is None


def test_a_config_that_starts_from_clip_with_imagenet_s_pixels_is_warned_about():
    from mmengine.config import ConfigDict

    from convnext_dense.checks.preflight import pixel_warnings
    cfg = ConfigDict(model=dict(
        data_preprocessor=dict(mean=list(zoo.IMAGENET_MEAN), std=list(zoo.IMAGENET_STD)),
        backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='convnext-base_clip-laion2b'))))
    assert len(pixel_warnings(cfg)) == 1
    cfg.model.data_preprocessor = dict(mean=list(zoo.CLIP_MEAN), std=list(zoo.CLIP_STD))
    assert pixel_warnings(cfg) == []
    cfg.init_from = 'convnext-tiny_in1k'
    assert 'convnext-tiny_in1k was trained' in pixel_warnings(cfg)[0]


# -- OpenCLIP's own files ------------------------------------------------------------------------


def write(kind, folder):
    state = {key: value.contiguous() for key, value in openclip().items()}
    path = folder / 'tower.safetensors'
    if kind == 'safetensors':
        save_file(state, path)
    elif kind == 'folder':
        path = folder
        torch.save(state, folder / 'open_clip_pytorch_model.bin')
    elif kind == 'index':
        save_file(state, folder / 'part.safetensors')
        path = folder / 'model.safetensors.index.json'
        path.write_text(json.dumps(dict(weight_map=dict.fromkeys(state, 'part.safetensors'))))
    else:  # of its training, in several processes
        path = folder / 'epoch_3.pt'
        torch.save(dict(epoch=3, state_dict={f'module.{key}': value for key, value in
                                             state.items()}), path)
    return path


@pytest.mark.parametrize('kind', ['safetensors', 'folder', 'index', 'training'])
def test_openclip_s_files_are_known_by_their_tensors_whose_values_nobody_reads(
        kind, tmp_path, monkeypatch):
    path = write(kind, tmp_path)

    def read(*args):
        raise AssertionError('the values are read')

    monkeypatch.setattr(archive, 'check_crc', read)
    monkeypatch.setattr(reading, '_read_safetensors', read)
    assert pixels_of(str(path)) == CLIP
    assert '[122.771, 116.746, 104.094]' in pixel_warning(
        str(path), zoo.IMAGENET_MEAN, zoo.IMAGENET_STD)


@pytest.mark.parametrize('name', ['open_clip_pytorch_model.bin', 'open_clip_model.safetensors'])
def test_openclip_s_files_are_known_by_their_url(name):
    url = 'https://huggingface.co/laion/CLIP-convnext_base_w-laion2B-s13B-b82K/resolve/main/'
    assert pixels_of(url + name) == CLIP == pixels_of(f'{url}{name}?download=true')


def test_of_other_files_nothing_is_told(tmp_path):
    torch.save(convnext_file('timm'), tmp_path / 'timm.pth')
    (tmp_path / 'torn.pth').write_bytes(b'PK\x03\x04' + bytes(50))
    torch.save(openclip(), tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    for name in ('timm.pth', 'torn.pth', 'old.pth', 'gone.pth'):
        assert pixels_of(str(tmp_path / name)) is None
    assert pixels_of('https://example.com/some.pth') is None


@pytest.mark.parametrize('to', ['official', 'timm', None])
def test_a_converted_file_keeps_them(tmp_path, to):
    out = tmp_path / 'converted.safetensors'
    convert_checkpoint(write('safetensors', tmp_path), out, to)
    assert pixels_of(str(out)) == CLIP
    convert_checkpoint(out, tmp_path / 'again.safetensors', 'official')
    assert pixels_of(str(tmp_path / 'again.safetensors')) == CLIP


@pytest.mark.parametrize('noted', [7, {}, dict(mean=[1.]), dict(mean=1, std=2),
                                   dict(mean=[], std=[]), dict(mean=['a'], std=[1.]),
                                   dict(mean=[1e400], std=[1.])])
def test_what_a_file_notes_is_looked_at(tmp_path, noted):
    path = tmp_path / 'odd.safetensors'
    save_file({'some.weight': torch.ones(2)}, path, metadata=dict(pixels=json.dumps(noted)))
    assert pixels_of(str(path)) is None
