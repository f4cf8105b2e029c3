"""One project for all models of a comparison, and configs that differ in the backbone alone."""
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / 'datasets/importers'))
from scene import write_masks, write_yolo  # noqa: E402

from convnext_dense.analysis.fairness import differences  # noqa: E402
from convnext_dense.config import load_config  # noqa: E402
from convnext_dense.errors import InputError  # noqa: E402
from convnext_dense.planning import model_configs  # noqa: E402
from convnext_dense.planning.backbones import backbone_named  # noqa: E402

MODELS = [backbone_named(name) for name in ('convnextv2-atto', 'swin-atto', 'resnet-18')]
WRITERS = dict(labels=write_masks, masks=write_yolo)


def options(data, **changed):
    return dict(data=str(data), format=None, classes=None, colours=None, task=None, size=64,
                batch=2, iters=2, weights=['none'], device='cpu') | changed


@pytest.fixture(params=WRITERS)
def made(request, tmp_path):
    WRITERS[request.param](tmp_path / 'in')
    lines = model_configs.make_shared_project(tmp_path / 'out', options(tmp_path / 'in'), {})
    assert any('2 steps' in line for line in lines)
    return tmp_path


def test_configs_differ_in_the_backbone_and_what_follows_from_it(made):
    weights = {'swin-atto': 'some.pth'}
    files = model_configs.write_configs(made / 'out', MODELS, weights)
    configs = {name: load_config(path) for name, path in files.items()}
    first = configs['convnextv2-atto']
    for name, cfg in configs.items():
        assert not list(differences(first.to_dict(), cfg.to_dict(), '')), name
    assert [cfg.model.backbone.get('init_cfg', {}).get('checkpoint')
            for cfg in configs.values()] == [None, 'some.pth', None]
    resnet = configs['resnet-18'].model
    given = resnet.neck.in_channels if 'neck' in resnet else resnet.decode_head.in_channels
    assert given == [64, 128, 256, 512]
    if 'auxiliary_head' in resnet:
        assert resnet.auxiliary_head.in_channels == 256


def test_a_second_call_keeps_the_project_and_refuses_other_options(made):
    config = (made / 'out/project/config.py').stat().st_mtime_ns
    assert model_configs.make_shared_project(made / 'out', options(made / 'in'), {}) == []
    assert (made / 'out/project/config.py').stat().st_mtime_ns == config
    with pytest.raises(InputError, match='made with --size 64, not 96; give another folder'):
        model_configs.make_shared_project(made / 'out', options(made / 'in', size=96), {})
    shutil.copytree(made / 'in', made / 'other')
    with pytest.raises(InputError, match='made with --data .*in, not .*other'):
        model_configs.make_shared_project(made / 'out', options(made / 'other'), {})


def test_a_project_of_somebody_else_is_left_alone(made):
    (made / 'out' / model_configs.SETTINGS).unlink()
    with pytest.raises(InputError, match='project is there without'):
        model_configs.make_shared_project(made / 'out', options(made / 'in'), {})


def test_damaged_options_are_named(made):
    (made / 'out' / model_configs.SETTINGS).write_text('{')
    with pytest.raises(InputError, match='study.json: not the options of a comparison'):
        model_configs.read_settings(made / 'out')


def test_images_have_the_size_that_models_see(made):
    assert model_configs.image_size(made / 'out') == (64, 32)


def test_boxes_leave_masks_aside(tmp_path):
    write_yolo(tmp_path / 'in')
    model_configs.make_shared_project(tmp_path / 'out', options(tmp_path / 'in', task='boxes'), {})
    cfg = load_config(tmp_path / 'out/project/config.py')
    assert cfg.model.type == 'FasterRCNN' and cfg.val_evaluator.metric == ['bbox']


def test_a_task_that_the_data_cannot_teach_is_refused(tmp_path):
    write_masks(tmp_path / 'in')
    with pytest.raises(InputError, match='--task boxes: .* holds labels'):
        model_configs.make_shared_project(tmp_path / 'out',
                                          options(tmp_path / 'in', task='boxes'), {})
    assert not (tmp_path / 'out/project').exists()


def test_data_without_images_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / 'in').mkdir()
    with pytest.raises(InputError) as error:
        model_configs.make_shared_project(tmp_path / 'out', options(tmp_path / 'in'), {})
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out/project').exists()


def test_weights_go_to_the_models_that_they_are_given_for(tmp_path):
    (tmp_path / 'swin.pth').write_bytes(b'')
    chosen = model_configs.choose_weights(
        MODELS, [f'swin-atto={tmp_path / "swin.pth"}', 'convnextv2-atto=convnextv2-atto_in1k'],
        tmp_path, print)
    assert chosen == {'swin-atto': str(tmp_path / 'swin.pth'),
                      'convnextv2-atto': 'convnextv2-atto_in1k'}
    assert model_configs.choose_weights(MODELS, ['none'], tmp_path, print) == {}


@pytest.mark.parametrize('pair, message', [
    ('swin-t=a.pth', '--weights swin-t=a.pth: give auto, none, or MODEL=SOURCE with a MODEL of '
                     'convnextv2-atto'),
    ('auto=', '--weights'), ('swin-atto=missing.pth', 'missing.pth: no such file')])
def test_weights_that_cannot_be_are_refused(pair, message, tmp_path):
    with pytest.raises(InputError, match=message):
        model_configs.choose_weights(MODELS, [pair], tmp_path, print)


def test_published_weights_are_for_all_models_or_for_none(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(model_configs, '_can_be_had', lambda source: True)
    assert model_configs.choose_weights(MODELS, ['auto'], tmp_path, said.append) == {}
    assert said == ['weights: every backbone starts from nothing: swin-atto has no published '
                    'weights']
    models = [MODELS[0], MODELS[2]]
    assert model_configs.choose_weights(models, ['auto'], tmp_path, said.append) == {
        'convnextv2-atto': 'convnextv2-atto_in1k', 'resnet-18': 'torchvision://resnet18'}
    monkeypatch.setattr(model_configs, '_can_be_had', lambda source: '://' not in source)
    assert model_configs.choose_weights(models, ['auto'], tmp_path, said.append) == {}
    assert 'resnet-18 has weights (torchvision://resnet18) that cannot be had here' in said[-1]
