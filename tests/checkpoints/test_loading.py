"""What load_weights loads where, and what it says of it."""
import logging

import pytest
import torch
from mmengine.model import BaseModule
from tiny_weights import Detector, convnext, convnext_file, official_state, randomise, swin

from convnext_dense import load_weights
from convnext_dense.checkpoints import LoadReport, state_dict_of
from convnext_dense.checkpoints.formats import FORMATS, from_official
from convnext_dense.errors import InputError


def equal(model, state):
    loaded = model.state_dict()
    return all(torch.equal(loaded[key], value) for key, value in state.items() if key in loaded)


def test_the_report_is_one_line_and_the_lists_are_for_debugging(monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr('convnext_dense.checkpoints.loading.print_log',
                        lambda text, logger, level=logging.INFO: lines.append((level, text)))
    path = tmp_path / 'weights.pth'
    torch.save(convnext_file('timm'), path)
    report = load_weights(convnext(), path)
    assert lines[0] == (logging.INFO, str(report))
    assert str(report) == (f'weights of {path} (timm): 79 loaded, 8 missing, 4 unexpected, '
                           '0 reshaped')
    assert lines[2] == (logging.DEBUG,
                        'unexpected: norm.weight, norm.bias, head.weight, head.bias')
    assert len(lines) == 3


def test_the_lists_hold_the_model_s_names():
    report = load_weights(convnext(), convnext_file('torchvision'))
    assert isinstance(report, LoadReport)
    assert 'stages.2.1.pwconv1.weight' in report.loaded
    assert sorted(report.missing) == sorted(f'norm{stage}.{kind}' for stage in range(4)
                                            for kind in ('weight', 'bias'))
    assert sorted(report.unexpected) == ['head.bias', 'head.weight', 'norm.bias', 'norm.weight']


def test_pointwise_convolutions_are_reshaped_and_counted():
    report = load_weights(convnext(linear_pw_conv=False), convnext_file('official'))
    assert len(report.reshaped) == 2 * 7 and 'stages.0.0.pwconv1.weight' in report.reshaped


def test_a_backbone_takes_its_part_of_a_detector():
    detector = randomise(Detector(convnext()))
    ours = convnext()
    report = load_weights(ours, dict(state_dict=detector.state_dict()))
    assert not report.missing and not report.unexpected
    assert equal(ours, detector.backbone.state_dict())


def test_a_detector_takes_classification_weights_for_its_backbone(monkeypatch):
    lines = []
    monkeypatch.setattr('convnext_dense.checkpoints.loading.print_log',
                        lambda text, logger, level=logging.INFO: lines.append((level, text)))
    detector, state = Detector(convnext()), official_state()
    neck = detector.neck.weight.clone()
    report = load_weights(detector, state)
    assert report.backbone_only
    assert lines[1] == (logging.WARNING, 'a dict holds a backbone only: neck and heads of Detector '
                                         'keep their initial values')
    assert equal(detector.backbone, state) and torch.equal(detector.neck.weight, neck)
    assert 'neck.weight' in report.missing


@pytest.mark.parametrize('names', ['official', 'mmpretrain'])
@pytest.mark.parametrize('wrapper', ['', 'module.'])
def test_a_detector_takes_a_detector(names, wrapper):
    source = randomise(Detector(convnext()))
    backbone = from_official(source.backbone.state_dict(), FORMATS[names], 'backbone.')
    rest = {key: value for key, value in source.state_dict().items()
            if not key.startswith('backbone.')}
    file = {wrapper + key: value for key, value in {**backbone, **rest}.items()}
    target = Detector(convnext())
    report = load_weights(target, dict(state_dict=file, meta={}))
    assert report.format == names and not report.missing and not report.unexpected
    assert equal(target, source.state_dict())


def test_another_number_of_classes_is_an_error_unless_allowed():
    source, target = randomise(Detector(convnext(), classes=81)), Detector(convnext(), classes=4)
    with pytest.raises(InputError, match=r'fc_cls.weight has the shape \(81, 8\), but Detector '
                                         r'wants \(4, 8\)'):
        load_weights(target, source.state_dict())
    report = load_weights(target, source.state_dict(), allow=[r'fc_cls'])
    assert len(report.loaded) == len(target.state_dict()) - 2
    assert equal(target.backbone, source.backbone.state_dict())


def test_weights_for_images_of_other_channels_say_so():
    with pytest.raises(InputError, match='weights are for images of 3 channels, the model for 4: '
                       'load images of 3 channels .backbone.in_channels=3., or start the backbone'):
        load_weights(convnext(in_channels=4), official_state())


def test_a_missing_head_is_an_error():
    source = randomise(Detector(convnext())).state_dict()
    del source['roi_head.bbox_head.fc_cls.bias']
    with pytest.raises(InputError, match='lacks roi_head.bbox_head.fc_cls.bias, which Detector'):
        load_weights(Detector(convnext()), source)


def test_a_mixed_up_arch_is_an_error_both_ways():
    shallow, deep = convnext(), convnext()
    deep.stages[2].append(deep.stages[2][0])
    with pytest.raises(InputError, match=r'has stages.2.3\..* and \d+ more, which .* no place'):
        load_weights(shallow, deep.state_dict())
    with pytest.raises(InputError, match=r'lacks stages.2.3\..* and \d+ more, which .* needs'):
        load_weights(deep, shallow.state_dict())
    with pytest.raises(InputError, match='grn.gamma'):
        load_weights(convnext('v2'), official_state('v1'))


def test_another_family_is_an_error():
    with pytest.raises(InputError, match='holds swin weights, but ConvNeXt is a convnext'):
        load_weights(convnext(), swin().state_dict())


def test_weights_of_something_else_say_what_was_found_and_wanted():
    with pytest.raises(InputError, match=r"\(unknown\): nothing of the backbone of ConvNeXt was "
                                         r'loaded; the file has a.weight, the model wants '
                                         r'downsample_layers.0.0.weight'):
        load_weights(convnext(), {'a.weight': torch.ones(1)})


def test_a_checkpoint_without_weights_is_named():
    with pytest.raises(InputError, match='holds no weights; its keys are epoch, optimizer'):
        load_weights(convnext(), dict(epoch=3, optimizer={}))


@pytest.mark.parametrize('key', ['state_dict', 'model', 'module', 'model_state_dict'])
def test_the_weights_are_found_under_their_usual_keys(key):
    state = official_state()
    assert state_dict_of({key: state, 'epoch': 3}) == state


def test_a_prefix_picks_one_of_two_backbones():
    student, teacher = official_state(seed=0), official_state(seed=1)
    both = {**{f'student.{key}': value for key, value in student.items()},
            **{f'teacher.{key}': value for key, value in teacher.items()}}
    ours = convnext()
    load_weights(ours, both, prefix='teacher.')
    assert equal(ours, teacher)
    with pytest.raises(InputError, match="has nothing under prefix 'other.'; it has student"):
        load_weights(ours, both, prefix='other')


def test_half_precision_weights_become_the_model_s_precision():
    half = {key: value.half() for key, value in official_state().items()}
    ours = convnext()
    load_weights(ours, half)
    weight = ours.state_dict()['stages.0.0.pwconv1.weight']
    assert weight.dtype == torch.float32
    assert torch.equal(weight, half['stages.0.0.pwconv1.weight'].float())


def test_the_averaged_copy_of_openmmlab_2_is_left_over():
    state = official_state()
    state.update({'ema_' + key.replace('.', '_'): value for key, value in state.items()})
    assert equal(convnext_loaded(state), official_state())


def convnext_loaded(state):
    ours = convnext()
    load_weights(ours, state)
    return ours


# -- init_cfg ------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['Pretrained', 'convnext_dense.Pretrained'])
def test_init_cfg_loads_any_format(kind, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(convnext_file('mmpretrain'), path)
    ours = convnext(init_cfg=dict(type=kind, checkpoint=str(path), prefix='backbone.'))
    ours.init_weights()
    assert equal(ours, official_state())


def test_init_cfg_works_inside_a_detector(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(convnext_file('transformers'), path)

    class Model(BaseModule):

        def __init__(self):
            super().__init__()
            self.backbone = convnext(init_cfg=dict(type='Pretrained', checkpoint=str(path)))

    model = Model()
    model.init_weights()
    assert equal(model.backbone, official_state())


def test_swin_takes_the_official_weights_through_init_cfg(tmp_path):
    from convnext_dense.checkpoints.formats import recognise, to_official
    state = randomise(swin()).state_dict()
    official, _ = to_official(state, recognise(state))
    # the published files hold a mask and a head, too, and no output norms
    file = {key: value for key, value in official.items() if not key.startswith('norm')}
    file.update({'layers.0.blocks.0.attn_mask': torch.zeros(4, 9, 9),
                 'norm.weight': torch.ones(16), 'norm.bias': torch.zeros(16),
                 'head.weight': torch.ones(10, 16), 'head.bias': torch.ones(10)})
    path = tmp_path / 'swin.pth'
    torch.save(dict(model=file), path)
    model = swin(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    assert equal(model, {key: value for key, value in state.items() if not key.startswith('norm')})


def test_swin_s_position_tables_fit_another_window(tmp_path):
    """Bicubic, as the official detection code does it."""
    state = randomise(swin()).state_dict()
    table = state['stages.0.blocks.0.attn.w_msa.relative_position_bias_table']
    model = swin(window_size=4)
    report = load_weights(model, state)
    assert len(report.reshaped) == 3
    grid = table.permute(1, 0).view(1, 1, 5, 5)
    expected = torch.nn.functional.interpolate(grid, size=(7, 7), mode='bicubic')
    found = model.state_dict()['stages.0.blocks.0.attn.w_msa.relative_position_bias_table']
    assert torch.equal(found, expected.view(1, 49).permute(1, 0))


def test_resnet_reads_torchvision_s_file_safely(tmp_path):
    from mmdet.models.backbones import ResNet
    source = randomise(ResNet(18, base_channels=4))
    state = {**source.state_dict(), 'fc.weight': torch.ones(10, 32), 'fc.bias': torch.ones(10)}
    path = tmp_path / 'resnet18.pth'
    torch.save(state, path)
    model = ResNet(18, base_channels=4, init_cfg=dict(
        type='convnext_dense.Pretrained', checkpoint=str(path)))
    model.init_weights()
    assert equal(model, source.state_dict())


def test_test_time_augmentation_is_seen_through():
    from mmengine.model import BaseTTAModel

    class TTA(BaseTTAModel):

        def merge_preds(self, data_samples_list):
            return data_samples_list

    class Inner(BaseModule):

        def __init__(self):
            super().__init__()
            self.backbone = convnext()

        def test_step(self, data):
            return data

    wrapped = TTA(Inner())
    load_weights(wrapped, official_state())
    assert equal(wrapped.module.backbone, official_state())
