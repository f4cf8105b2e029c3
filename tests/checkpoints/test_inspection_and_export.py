"""inspect_checkpoint and convert_checkpoint, as functions and as commands."""
import json
import subprocess
import sys

import peers
import pytest
import torch
from safetensors import safe_open
from test_damaged_files import FILES
from tiny_weights import (
    CHANNELS,
    CONVNEXT_FORMATS,
    DEPTHS,
    Detector,
    convnext,
    convnext_file,
    official_state,
    randomise,
    swin,
)

from convnext_dense.checkpoints import load_weights, read_checkpoint
from convnext_dense.checkpoints.export import convert_checkpoint
from convnext_dense.checkpoints.inspection import inspect_checkpoint
from convnext_dense.cli import main
from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt


@pytest.fixture
def trained(tmp_path):
    """A detector's checkpoint as mmengine writes it."""
    path = tmp_path / 'epoch_3.pth'
    torch.save(dict(state_dict=randomise(Detector(convnext())).state_dict(), optimizer=dict(),
                    param_schedulers=[], meta=dict(
                        epoch=3, iter=300, cfg='model = dict()', time='20260101_000000',
                        dataset_meta=dict(classes=('cat', 'dog', 'bird')))), path)
    return path


@pytest.mark.parametrize('name', CONVNEXT_FORMATS)
def test_every_format_is_described_alike(name, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(convnext_file(name), path)
    described = inspect_checkpoint(path)
    backbone = sum(parameter.numel() for key, parameter in convnext().named_parameters()
                   if not key.startswith('norm')) + 2 * CHANNELS[-1]
    assert described['format'] == name and described['kind'] == 'classifier'
    assert described['arch'] == 'convnext-custom'
    assert (described['depths'], described['channels']) == (DEPTHS, CHANNELS)
    assert described['backbone_parameters'] == backbone
    assert described['parameters'] == backbone + 10 * CHANNELS[-1] + 10
    assert described['classes'] == 10 and described['training'] == {}


PROJECTS = {
    'official': 'the official ConvNeXt release', 'fcmae': "ConvNeXt V2's pre-training",
    'timm': 'timm', 'timm-features': 'timm', 'torchvision': 'torchvision',
    'transformers': 'transformers', 'transformers-dinov3': "transformers' DINOv3",
    'mmpretrain': 'mmpretrain', 'official of DINOv3': "DINOv3's release",
    'official of EUPE': 'EUPE', 'timm of OpenCLIP': 'OpenCLIP', 'timm in wrappers': 'timm',
    'swin': 'the official Swin release', 'swin-openmmlab': 'mmdet and mmseg',
    'resnet': 'torchvision'}


@pytest.mark.parametrize('kind', PROJECTS)
def test_every_format_s_source_arch_and_classes_are_named(kind, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(FILES[kind](), path)
    described = inspect_checkpoint(path)
    assert described['project'] == PROJECTS[kind]
    family = kind if kind == 'resnet' else 'swin' if 'swin' in kind else 'convnext'
    assert described['arch'] == f'{family}-custom'
    headless = ' of ' in kind or family != 'convnext'
    assert described['classes'] == (None if headless else 10)


@pytest.mark.parametrize('more, program', [
    ({'pytorch-lightning_version': '2.5.0'}, 'Lightning 2.5.0'),
    (dict(meta=dict(mmengine_version='0.10.7')), 'mmengine 0.10.7'),
    (dict(meta=dict(mmdet_version='2.28.0')), 'mmdet 2.28.0'),
    (dict(convnext_dense={}), 'this toolkit'), ({}, None)])
def test_the_program_that_saved_a_file_is_named(more, program, tmp_path, capsys):
    path = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=convnext_file('timm'), **more), path)
    assert inspect_checkpoint(path)['program'] == program
    assert main(['inspect-checkpoint', str(path)]) in (0, None)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.split(maxsplit=1) == ['source', 'timm' + (
        f', saved by {program}' if program else '')]


@pytest.mark.parametrize('arch, use_grn, expected', [
    ('tiny', False, 'convnext-tiny'), ('atto', True, 'convnextv2-atto'),
    ('atto', False, 'convnext-atto'), ('tiny', True, 'convnextv2-tiny')])
def test_published_sizes_are_named(arch, use_grn, expected, tmp_path):
    with torch.device('meta'):
        model = ConvNeXt(arch, use_grn=use_grn, layer_scale_init_value=0 if use_grn else 1.)
    state = {key: torch.empty(1).expand(value.shape) for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / 'weights.pth')
    assert inspect_checkpoint(tmp_path / 'weights.pth')['arch'] == expected


@pytest.mark.parametrize('kind, settings, expected', [
    ('ResNet', dict(depth=depth), f'resnet{depth}') for depth in (18, 34, 50, 101, 152)] + [
    ('ResNeXt', dict(depth=101, groups=64, base_width=4), 'resnext101_64x4d'),
    ('ResNeXt', dict(depth=50, groups=32, base_width=4), 'resnext50_32x4d'),
    ('ResNeXt', dict(depth=101, groups=32, base_width=8), 'resnext101_32x8d'),
    ('ResNetV1d', dict(depth=50), 'resnet50_v1d'),
    ('ResNet', dict(depth=50, deep_stem=True), 'resnet50_v1c'),
    ('ResNet', dict(depth=50, base_channels=32), 'resnet-custom'),
    ('Res2Net', dict(depth=50, scales=4, base_width=26), None)])
def test_resnets_are_named_by_their_shapes(kind, settings, expected, tmp_path):
    """mmdet's own; torchvision's names."""
    import mmdet.models
    with torch.device('meta'):
        model = getattr(mmdet.models, kind)(**settings)
    state = {f'backbone.{key}': torch.empty(()).expand(value.shape)
             for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / 'weights.pth')
    described = inspect_checkpoint(tmp_path / 'weights.pth')
    assert described['arch'] == expected
    if expected == 'resnet50':
        assert described['depths'] == (3, 4, 6, 3)
        assert described['channels'] == (256, 512, 1024, 2048)


def test_a_wide_resnet_in_torchvision_s_names_is_named(tmp_path):
    timm = peers.import_timm()
    with torch.device('meta'):
        model = timm.create_model('wide_resnet50_2')
    torch.save({key: torch.empty(()).expand(value.shape) for key, value in
                model.state_dict().items()}, tmp_path / 'weights.pth')
    assert inspect_checkpoint(tmp_path / 'weights.pth')['arch'] == 'wide_resnet50_2'


def test_classes_of_a_dense_head_are_counted(tmp_path):
    state = Detector(convnext()).state_dict()
    state = {key: value for key, value in state.items() if not key.startswith('roi_head')}
    state.update({'bbox_head.retina_cls.weight': torch.zeros(9 * 7, 8, 3, 3),
                  'bbox_head.retina_reg.weight': torch.zeros(9 * 4, 8, 3, 3)})
    torch.save(state, tmp_path / 'weights.pth')
    assert inspect_checkpoint(tmp_path / 'weights.pth')['classes'] == 7


@pytest.mark.parametrize('name', ['trainer_state.json', 'training_args.bin'])
def test_hugging_face_s_trainer_is_told_by_what_it_writes_beside(name, tmp_path):
    from safetensors.torch import save_file
    save_file(convnext_file('transformers'), tmp_path / 'model.safetensors')
    assert inspect_checkpoint(tmp_path)['program'] is None
    (tmp_path / name).write_text('{}')
    for source in (tmp_path, tmp_path / 'model.safetensors'):
        assert inspect_checkpoint(source)['program'] == 'Hugging Face Trainer'


def test_swin_is_described(tmp_path):
    torch.save(randomise(swin()).state_dict(), tmp_path / 'swin.pth')
    described = inspect_checkpoint(tmp_path / 'swin.pth')
    assert described['format'] == 'swin-openmmlab' and described['depths'] == (1, 2)
    assert described['parameters'] == sum(value.numel() for value in swin().parameters())


def test_a_trained_detector_shows_its_classes_and_state_of_training(trained, capsys):
    described = inspect_checkpoint(trained)
    assert described['kind'] == 'detector' and described['classes'] == ['cat', 'dog', 'bird']
    assert described['training'] == dict(epoch=3, iter=300,
                                         states=['optimizer', 'param_schedulers'])
    assert main(['inspect-checkpoint', str(trained)]) == 0
    out = capsys.readouterr().out
    assert 'classes     3: cat, dog, bird' in out
    assert 'training    epoch 3, iter 300, optimizer, param_schedulers' in out
    assert main(['inspect-checkpoint', str(trained), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['training']['epoch'] == 3


def test_inspecting_imports_no_framework(trained):
    """mmdet, mmcv and transformers take seconds; nothing here needs them."""
    code = ('import sys; from convnext_dense.cli import main;'
            f'main(["inspect-checkpoint", {str(trained)!r}]);'
            'print([name for name in ("mmdet", "mmseg", "mmcv", "transformers") '
            'if name in sys.modules])')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True).stdout
    assert out.splitlines()[-1] == '[]'


# -- conversion ----------------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth', '.bin'])
@pytest.mark.parametrize('name', CONVNEXT_FORMATS)
def test_any_format_becomes_any_other_and_back(name, suffix, tmp_path):
    source, there, back = (tmp_path / file for file in ('a.pth', f'b{suffix}', f'c{suffix}'))
    torch.save(official_state(), source)
    convert_checkpoint(source, there, to=name)
    assert inspect_checkpoint(there)['format'] == name
    convert_checkpoint(there, back, to='official')
    read = read_checkpoint(back)
    state = read.get('state_dict') or read['model']
    assert set(state) == set(official_state())
    assert all(torch.equal(state[key], value) for key, value in official_state().items())
    assert not list(tmp_path.glob('*.part'))


def test_safetensors_carry_what_deployment_asks_for(trained, tmp_path, capsys):
    out = tmp_path / 'deployed.safetensors'
    assert main(['convert-checkpoint', str(trained), str(out), '--licence', 'Apache-2.0']) == 0
    with safe_open(out, 'pt') as file:
        meta = file.metadata()
    assert json.loads(meta['classes']) == ['cat', 'dog', 'bird']
    assert meta['format'] == 'pt'  # transformers refuses files without it
    assert meta['arch'] == 'convnext-custom' and meta['licence'] == 'Apache-2.0'
    assert len(meta['config_sha256']) == 64
    model = Detector(convnext())
    assert not load_weights(model, out).missing


def test_the_zoo_s_licence_goes_along(tmp_path, monkeypatch):
    from convnext_dense.checkpoints import zoo
    path = tmp_path / 'weights.pt'
    torch.save(dict(model=official_state('v2')), path)
    monkeypatch.setattr('convnext_dense.checkpoints.fetching.download',
                        lambda *args, **kwargs: path)
    name = 'convnextv2-atto_fcmae'
    meta = convert_checkpoint(name, tmp_path / 'out.safetensors', to='timm')
    assert meta['licence'] == zoo.NON_COMMERCIAL
    again = convert_checkpoint(tmp_path / 'out.safetensors', tmp_path / 'again.safetensors')
    assert again['licence'] == zoo.NON_COMMERCIAL


def test_a_detector_keeps_its_heads_where_the_format_names_them(trained, tmp_path):
    out = tmp_path / 'mmpretrain.pth'
    convert_checkpoint(trained, out, to='mmpretrain')
    state = read_checkpoint(out)['state_dict']
    assert 'roi_head.bbox_head.fc_cls.weight' in state
    assert 'backbone.stages.0.0.depthwise_conv.weight' in state
    target = Detector(convnext())
    assert not load_weights(target, out).missing
    convert_checkpoint(trained, out, to='timm')
    state = read_checkpoint(out)
    assert 'stages.0.blocks.0.conv_dw.weight' in state and not any('norm0' in key for key in state)
    convert_checkpoint(trained, out, backbone_only=True)
    assert not load_weights(convnext(), out).missing


def test_dropped_heads_make_room_for_other_classes(trained, tmp_path):
    out = tmp_path / 'start.pth'
    convert_checkpoint(trained, out, drop=['roi_head.bbox_head.fc_cls'])
    state = read_checkpoint(out)['state_dict']
    assert 'neck.weight' in state and not any('fc_cls' in key for key in state)


@pytest.mark.parametrize('arguments, message', [
    (['a.pth', 'out.onnx'], 'out.onnx: the name must end with .safetensors'),
    (['a.pth', 'out.pth', '--to', 'keras'], '--to keras: no such format; the known ones are offic'),
    (['a.pth', 'out.pth', '--to', 'swin'], 'holds convnext weights, which have no form named swin'),
    (['b.pth', 'out.pth'], 'b.pth: no such file'),
    (['a.pth', '/dev/null/out.pth'], 'cannot write /dev/null/out.pth')])
def test_errors_are_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(official_state(), 'a.pth')
    assert main(['convert-checkpoint', *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not list(tmp_path.glob('out*'))


def test_a_foreign_pickle_is_converted_only_when_trusted(tmp_path):
    class Foreign:

        def __reduce__(self):
            return open, (str(tmp_path / 'touched'), 'w')

    source, out = tmp_path / 'foreign.pth', tmp_path / 'out.safetensors'
    torch.save(dict(model=official_state(), args=Foreign()), source)
    with pytest.raises(InputError, match='is refused'):
        convert_checkpoint(source, out)
    assert not (tmp_path / 'touched').exists() and not out.exists()
    with pytest.warns(UserWarning, match='FULL UNPICKLING'):
        convert_checkpoint(source, out, trust_pickle=True)
    assert (tmp_path / 'touched').exists()
    assert load_weights(convnext(), out).loaded
