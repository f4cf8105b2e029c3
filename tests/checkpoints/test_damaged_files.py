"""A file of every format, damaged in every way that we have met: one line of error, no change."""
import os
from functools import cache
from itertools import product

import pytest
import torch
from safetensors.torch import save_file
from tiny_weights import (
    CONVNEXT_FORMATS,
    Detector,
    convnext,
    convnext_file,
    official_state,
    randomise,
    swin,
)

from convnext_dense.checkpoints import FORMATS, load_weights
from convnext_dense.checkpoints.formats import from_official, recognise, to_official
from convnext_dense.checkpoints.loading import match
from convnext_dense.errors import InputError


def resnet():
    from mmdet.models.backbones import ResNet
    return ResNet(18, base_channels=4)


def detector_file(name):
    """A whole detector whose backbone has the names of the format ``name``."""
    family = FORMATS[name].family
    model = randomise(Detector({'convnext': convnext, 'swin': swin, 'resnet': resnet}[family]()))
    backbone, rest = to_official(model.state_dict(), recognise(model.state_dict()))
    return {**from_official(backbone, FORMATS[name], 'backbone.'), **rest}


def backbone_file(name):
    family = FORMATS[name].family
    if family == 'convnext':
        return convnext_file(name)
    state = randomise(swin() if family == 'swin' else resnet()).state_dict()
    return from_official(to_official(state, recognise(state))[0], FORMATS[name])


FILES = {**{name: lambda name=name: backbone_file(name) for name in FORMATS},
         **{f'{name} detector': lambda name=name: detector_file(name)
            for name in ('official', 'mmpretrain', 'swin', 'swin-openmmlab', 'resnet')}}


def dinov3():
    """The final norm under two names, no head."""
    state = {key: value for key, value in official_state().items() if not key.startswith('head.')}
    return {**state, 'norms.3.weight': state['norm.weight'], 'norms.3.bias': state['norm.bias']}


def eupe():
    return {**dinov3(), 'projectors.teacher.0.weight': torch.ones(3, 3)}


def openclip():
    """timm's trunk without a head, a projection, a text tower."""
    trunk = {f'visual.trunk.{key}': value for key, value in convnext_file('timm').items()
             if not key.startswith('head.fc')}
    return {**trunk, 'visual.head.proj.weight': torch.ones(4, 32), 'logit_scale': torch.ones(()),
            'transformer.resblocks.0.attn.in_proj_weight': torch.ones(6, 2)}


def wrapped():
    """torch.compile inside of a Lightning module."""
    return {f'model._orig_mod.{key}': value for key, value in convnext_file('timm').items()}


#: whose: a file of the projects of today, by what it is recognised as
TODAY = {'official of DINOv3': dinov3, 'official of EUPE': eupe, 'timm of OpenCLIP': openclip,
         'timm in wrappers': wrapped}
FILES.update(TODAY)
SUFFIXES = ('.pth', '.legacy.pth', '.safetensors')


def model_for(kind):
    family = FORMATS[kind.split()[0]].family
    model = {'convnext': convnext, 'swin': swin, 'resnet': resnet}[family]()
    return Detector(model) if kind.endswith('detector') else model


untouched_model = cache(model_for)


def save(state, path):
    if path.suffix == '.safetensors':
        save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization='legacy' not in path.name)
    return path


def refused(kind, path):
    """The message of the one error that loading ``path`` gives; the model stays as it was."""
    model = untouched_model(kind)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(model, path)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    message = str(caught.value)
    assert '\n' not in message and len(message) < 1000 and path.name in message
    return message


def a_name(kind, state):
    """A tensor in the middle of the backbone."""
    names = [key for key in state if recognise(state).prefix in key and state[key].ndim > 1
             and not key.endswith(('relative_position_index', 'attn_mask'))]
    return names[len(names) // 2]


@pytest.mark.parametrize('kind', FILES)
def test_an_undamaged_file_loads(kind, tmp_path):
    for suffix in SUFFIXES:
        report = load_weights(model_for(kind), save(FILES[kind](), tmp_path / f'whole{suffix}'))
        assert report.loaded and report.format == kind.split()[0]


@pytest.mark.parametrize('kind', FILES)
def test_a_missing_tensor_is_named(kind, tmp_path):
    state = FILES[kind]()
    del state[a_name(kind, state)]
    assert 'lacks' in refused(kind, save(state, tmp_path / 'missing.pth'))


@pytest.mark.parametrize('kind', FILES)
def test_an_extra_tensor_is_named(kind, tmp_path):
    state = FILES[kind]()
    state[recognise(state).prefix + 'stages.0.extra'] = torch.zeros(2)
    assert 'stages.0.extra' in refused(kind, save(state, tmp_path / 'extra.pth'))


@pytest.mark.parametrize('kind', FILES)
def test_a_wrong_shape_is_named_with_both_shapes(kind, tmp_path):
    state = FILES[kind]()
    name = a_name(kind, state)
    shape = (state[name].shape[0] + 1, *state[name].shape[1:])
    state[name] = torch.zeros(shape)
    message = refused(kind, save(state, tmp_path / 'shape.pth'))
    assert 'has the shape (' in message and 'wants (' in message


@pytest.mark.parametrize('name', [name for name in CONVNEXT_FORMATS])
def test_whichever_tensor_is_missing_it_is_named(name):
    whole, model = convnext_file(name), convnext()
    for key in whole:
        found = recognise(whole)
        official = list(to_official({key: whole[key]}, found)[0])[0]
        state = {other: value for other, value in whole.items() if other != key}
        if official.startswith(('norm.', 'head.')):
            match(model.state_dict(), state, 'the file')
            continue
        with pytest.raises(InputError, match=f'lacks {official}, which'):
            match(model.state_dict(), state, 'the file')


@pytest.mark.parametrize('kind, suffix', product(FILES, SUFFIXES))
def test_a_truncated_file_is_called_torn(kind, suffix, tmp_path):
    path = save(FILES[kind](), tmp_path / f'torn{suffix}')
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert 'torn' in refused(kind, path)


class Malicious:

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('kind, suffix', product(FILES, ('.pth', '.legacy.pth', '.bin')))
def test_a_malicious_pickle_is_refused_and_touches_nothing(kind, suffix, tmp_path):
    touched = tmp_path / 'touched'
    path = save({**FILES[kind](), 'evil': Malicious(touched)}, tmp_path / f'evil{suffix}')
    message = refused(kind, path)
    assert '.open' in message and '--trust-pickle' in message
    assert not touched.exists()
    torch.load(path, weights_only=False)  # it does touch the file where it is unpickled
    assert touched.exists()


def test_a_pickle_that_is_malicious_behind_allowed_names_is_refused(tmp_path):
    """getattr is what turns allowed classes into any function."""
    class Getattr:

        def __reduce__(self):
            from mmengine.logging import HistoryBuffer
            return getattr, (HistoryBuffer, '__init__')

    path = tmp_path / 'getattr.pth'
    torch.save(dict(state_dict=convnext_file('official'), more=Getattr()), path)
    assert 'getattr' in refused('official', path)


def test_mmengine_s_own_loaders_refuse_it_too(tmp_path, monkeypatch):
    from mmengine.runner import CheckpointLoader, load_checkpoint

    from convnext_dense.checkpoints import read_safely_in_mmengine
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    read_safely_in_mmengine()
    touched = tmp_path / 'touched'
    path = save({'evil': Malicious(touched)}, tmp_path / 'evil.pth')
    for source in (str(path), path.as_uri()):
        with pytest.raises(InputError, match='refused'):
            load_checkpoint(convnext(), source)
    assert not touched.exists()
    model = convnext()
    from mmengine.model.weight_init import PretrainedInit
    with pytest.raises(InputError, match='refused'):
        PretrainedInit(str(path))(model)
    assert not os.path.exists(touched)
